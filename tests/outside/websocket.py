"""A WebSocket echo with an ordinary library at both ends, in both dialects, and several sockets at once."""
import os
from concurrent.futures import ThreadPoolExecutor

from harness import HERE, Relay, cores, main, need, need_packages, node_environment, run, start

SCRIPT = os.path.join(HERE, "websocket.js")


def test():
    need_packages("ws")
    node = need("node")
    server = start("server", node, SCRIPT, "serve", env=node_environment())
    target = server.wait_for(r"listening at (\S+)")[1]
    relay = Relay("--cores", cores(2))
    relay.gateway("ptth", target)
    relay.gateway("classic", target, "--dialect", "classic")

    def ask(domain):
        said = run(node, SCRIPT, "ask", f"ws://{relay.address}/{domain}/socket", env=node_environment())
        return f"{domain}: {said.stdout_text.strip()}"

    with ThreadPoolExecutor(4) as pool:
        for line in pool.map(ask, ["ptth", "classic", "ptth", "classic"]):
            print(line)
    relay.end()


main(test, 90)
