"""Headless Chromium opens the demo's page: its event stream shows events, its WebSocket echoes, and it lists the
headers that the relay added."""
import os
import shutil

import harness
from harness import HERE, Skip, main, need, need_packages, node_environment, ringback, run, start


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    raise Skip("no Chromium is installed; CI_BROWSER=1 scripts/test installs it")


def test():
    browser = chromium()
    need_packages("ws")
    demo = start("demo", ringback(), "demo", "--listen", "127.0.0.1:0")
    page = demo.wait_for(r"open (http://127\.0\.0\.1:\d+/demo/) in a browser")[1]
    demo.wait_for("connected to the relay")
    window = start("chromium", browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--no-first-run", "--disable-background-networking", "--disable-component-update",
                   "--disable-sync", f"--user-data-dir={os.path.join(harness.directory, 'profile')}",
                   "--remote-debugging-port=0", "about:blank")
    debugger = window.wait_for(r"DevTools listening on ws://([^/]+)/")[1]
    said = run(need("node"), os.path.join(HERE, "browser.js"), f"http://{debugger}", page, env=node_environment(),
               limit=90)
    window.end()
    code = demo.end()
    assert code == 0, f"the demo ended with {code}: {demo.said()}"
    print(said.stdout_text.strip())


main(test, 150)
