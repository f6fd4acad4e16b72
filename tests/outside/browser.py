"""Headless Chromium opens the demo's page: its event stream shows events, its WebSocket echoes, and it lists the
headers that the relay added. It does the same by TLS, through a second relay in front of the demo's."""
import os

from harness import (HERE, Relay, certificate, chromium, main, need, need_packages, node_environment, ringback, run, start)


def browse(debugger, page):
    return run(need("node"), os.path.join(HERE, "browser.js"), debugger, page, env=node_environment(), limit=90)


def test():
    need_packages("ws")
    window, debugger = chromium("--ignore-certificate-errors")
    demo = start("demo", ringback(), "demo", "--listen", "127.0.0.1:0")
    page = demo.wait_for(r"open (http://127\.0\.0\.1:\d+/demo/) in a browser")[1]
    demo.wait_for("connected to the relay")
    said = browse(debugger, page)
    ca, key = certificate("relay")
    relay = Relay("--listen-tls", "127.0.0.1:0", "--cert", ca, "--key", key)
    port = int(relay.child.wait_for(r"by TLS at 127\.0\.0\.1:(\d+)")[1])
    relay.gateway("demo", page.split("/")[2])
    browse(debugger, f"https://localhost:{port}/demo/")
    window.end()
    code = demo.end()
    assert code == 0, f"the demo ended with {code}: {demo.said()}"
    print(said.stdout_text.strip())


main(test, 150)
