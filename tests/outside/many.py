"""wrk over 256 kept connections against 50 domains, half of them ptth and half classic, on two shards: every answer
is the one to its own request, from the right gateway, and there is no error."""
import os
import re

from harness import HERE, Relay, cores, main, need, run, start

DOMAINS = 50
# More than wrk ever asks of one domain at a time is not needed; fewer would make clients wait.
GATEWAYS_PER_DOMAIN = 12
CLIENTS = 256
SECONDS = 10


def test():
    wrk, node = need("wrk"), need("node")
    relay = Relay("--cores", cores(2), "--client-wait", "5s")
    fleet = start("fleet", node, os.path.join(HERE, "fleet.js"), relay.port, DOMAINS, GATEWAYS_PER_DOMAIN)
    fleet.wait_for("all are parked")
    said = run(wrk, f"-t{CLIENTS}", f"-c{CLIENTS}", f"-d{SECONDS}s", "--timeout", "10s", "-s",
               os.path.join(HERE, "many.lua"), relay.url, "--", DOMAINS, limit=SECONDS + 60).stdout_text
    counts = {name: int(n) for name, n in re.findall(r"(\w+) (\d+)(?= )", re.search(r"answers .*", said)[0])}
    assert counts["answers"] > 1000, said
    for fault in ("wrong", "connect", "read", "write", "timeout", "status"):
        assert counts[fault] == 0, said
    assert "wrong" not in fleet.said(), fleet.said()
    relay.end()
    print(f"{counts['answers']} answers to {CLIENTS} clients from {DOMAINS} domains on {cores(2)} shards, all right")


main(test, SECONDS + 90)
