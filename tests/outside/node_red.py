"""Node-RED behind a gateway, used with headless Chromium: its editor loads with all that belongs to it, deploys a flow,
and shows what the flow says as it says it; the flow answers requests. Once under a path of the relay, and once at a
host name of its own."""
import json
import os
import shutil

import harness
from harness import (HERE, NODE_MODULES, Relay, Skip, chromium, cores, main, need, need_packages, node_environment, run,
                     start)

NODE_RED = os.path.join(os.path.dirname(NODE_MODULES), "node-red", "node_modules", "node-red")


def node_red(node):
    """A Node-RED without flows; returns its host:port."""
    folder = os.path.join(harness.directory, "node-red")
    os.mkdir(folder)
    settings = os.path.join(folder, "settings.js")
    shutil.copy(os.path.join(HERE, "node-red", "settings.js"), settings)
    server = start("node-red", node, os.path.join(NODE_RED, "red.js"), "--userDir", folder, "--settings", settings)
    address = server.wait_for(r"Server now running at http://([^/]+)/")[1]
    server.wait_for("Started flows")
    return address


def test():
    need_packages("ws")
    node = need("node")
    if not os.path.isdir(NODE_RED):
        raise Skip("Node-RED is not installed; CI_BROWSER=1 scripts/test installs it")
    # No host name has to be known to this machine.
    window, debugger = chromium("--host-resolver-rules=MAP *.relay.test 127.0.0.1")
    relay = Relay("--cores", cores(2), "--hostname", "relay.test")
    relay.gateway("red", node_red(node), "--strip-prefix")
    checks = requests = unmodified = 0
    # The path is typed without its last slash, as people do.
    for name, address in (("path", f"{relay.url}/red"), ("host", f"http://red.relay.test:{relay.port}/")):
        said = run(node, os.path.join(HERE, "node_red.js"), debugger, address, name, env=node_environment(), limit=90)
        seen = json.loads(said.stdout_text)
        checks += seen["checks"]
        requests += seen["requests"]
        unmodified += seen["unmodified"]
    window.end()
    relay.end()
    with open(os.path.join(NODE_RED, "package.json"), encoding="utf-8") as package:
        version = json.load(package)["version"]
    print(f"Node-RED {version} under a path and at a host name: {checks} checks, {requests} requests of the browser, "
          f"{unmodified} of them answered with 304")


main(test, 240)
