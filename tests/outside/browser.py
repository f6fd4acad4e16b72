"""Headless Chromium opens the demo's page: its event stream shows events, its WebSocket echoes, and it lists the
headers that the relay added."""
import os

from harness import HERE, chromium, main, need, need_packages, node_environment, ringback, run, start


def test():
    need_packages("ws")
    window, debugger = chromium()
    demo = start("demo", ringback(), "demo", "--listen", "127.0.0.1:0")
    page = demo.wait_for(r"open (http://127\.0\.0\.1:\d+/demo/) in a browser")[1]
    demo.wait_for("connected to the relay")
    said = run(need("node"), os.path.join(HERE, "browser.js"), debugger, page, env=node_environment(), limit=90)
    window.end()
    code = demo.end()
    assert code == 0, f"the demo ended with {code}: {demo.said()}"
    print(said.stdout_text.strip())


main(test, 150)
