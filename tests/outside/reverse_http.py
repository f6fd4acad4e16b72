"""npm's reverse-http, a device library for the classic dialect that nobody here wrote, serves 1,000 requests: the
first half over one client connection, the rest over connections of their own, some with a body."""
import http.client
import os
import time

from harness import HERE, Relay, main, need, need_packages, node_environment, start

REQUESTS = 1000


def ask(client, n):
    method = "POST" if n % 3 == 0 else "GET"
    body = f"body-{n}" if method == "POST" else None
    client.request(method, f"/gadget/{n}?q={n}", body=body)
    answer = client.getresponse()
    text = answer.read().decode()
    expected = f"gadget {n + 1} {method} /gadget/{n}?q={n} {body or ''}\n"
    assert answer.status == 200 and text == expected, f"request {n}: {answer.status} {text!r}, not {expected!r}"


def test():
    need_packages("reverse-http")
    relay = Relay()
    device = start("device", need("node"), os.path.join(HERE, "device.js"), relay.port, "gadget",
                   env=node_environment())
    device.wait_for("started")
    time.sleep(0.3)
    kept = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=10)
    for n in range(REQUESTS // 2):
        ask(kept, n)
    kept.close()
    for n in range(REQUESTS // 2, REQUESTS):
        fresh = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=10)
        ask(fresh, n)
        fresh.close()
    assert device.process.poll() is None, f"the device ended: {device.said()}"
    relay.end()
    print(f"{REQUESTS} requests, {REQUESTS // 2} of them over one connection")


main(test, 120)
