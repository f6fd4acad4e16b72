"""curl in many forms, ab with and without kept connections, and wrk, against both dialects: no error, no wrong byte."""
import hashlib
import json
import os
import re

import harness
from harness import Relay, main, need, run, service

BULK = os.urandom(3 << 20)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def pattern(length):
    """What the service's /bytes/N answers."""
    block = bytes((i * 7 + (i >> 8) * 13) & 255 for i in range(65536))
    return (block * (length // len(block) + 1))[:length]


def curl(*options, **more):
    return run(need("curl"), "-sS", "--fail-with-body", "--max-time", "30", *options, **more)


def seen(*options, **more):
    return json.loads(curl(*options, **more).stdout)


def with_curl(relay, base, bulk):
    assert curl(f"{base}/hello").stdout == b"hello\n"
    head = curl("-I", f"{base}/bytes/12345").stdout_text
    assert "200 OK" in head and re.search(r"(?i)content-length: 12345\r", head), head
    arrived = seen("--data", "a=1&b=2", f"{base}/seen?x=%20y")
    assert (arrived["method"], arrived["url"], arrived["bytes"]) == ("POST", "/seen?x=%20y", 7), arrived
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
        assert seen("-X", method, f"{base}/seen")["method"] == method
    arrived = seen("-T", bulk, f"{base}/seen")
    assert (arrived["method"], arrived["sha256"]) == ("PUT", sha256(BULK)), arrived
    arrived = seen("-X", "POST", "-T", "-", f"{base}/seen", input=BULK)
    assert arrived["headers"].get("transfer-encoding") == "chunked" and arrived["sha256"] == sha256(BULK), arrived
    echoed = curl("-X", "POST", "-T", "-", f"{base}/echo", input=BULK).stdout
    assert echoed == BULK, f"{len(echoed)} bytes came back"
    patient = curl("-v", "-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary", f"@{bulk}",
                   f"{base}/seen")
    assert "HTTP/1.1 100" in patient.stderr_text, patient.stderr_text
    assert json.loads(patient.stdout)["sha256"] == sha256(BULK)
    for more in ((), ("-H", "Connection: keep-alive")):
        old = curl("--http1.0", "-i", *more, f"{base}/hello").stdout_text
        assert old.endswith("hello\n") and "chunked" not in old.lower(), old
    old = curl("--http1.0", f"{base}/bytes/300000?chunked").stdout
    assert old == pattern(300000), f"{len(old)} bytes came to HTTP/1.0"
    for length, form in ((0, ""), (1, ""), (5 << 20, ""), (5 << 20, "?chunked")):
        got = curl(f"{base}/bytes/{length}{form}").stdout
        assert got == pattern(length), f"{len(got)} of {length} bytes{form}"
    kept = curl("-w", "%{num_connects} ", "-o", "/dev/null", *[f"{base}/hello"] * 1, "-o", "/dev/null",
                f"{base}/bytes/70000?chunked", "-o", "/dev/null", f"{base}/hello").stdout_text
    assert kept.split() == ["1", "0", "0"], f"connections opened for three requests: {kept}"
    # An answer that does not wait for the request, and clients that go away in the middle.
    early = curl("-T", bulk, f"{base}/hello").stdout
    assert early == b"hello\n", early
    for impatient in (("-o", "/dev/null", f"{base}/bytes/200000000"), ("-T", bulk, f"{base}/echo")):
        gone = curl("--limit-rate", "2M", "--max-time", "0.4", *impatient, check=False)
        assert gone.returncode == 28, gone
    many = curl("-Z", "--parallel-max", "8", f"{base}/hello?[1-40]").stdout
    assert many == b"hello\n" * 40, many
    missing = curl("-o", "/dev/null", "-w", "%{http_code}", f"{base}/nothing", check=False).stdout_text
    assert missing == "404", missing


def with_names(relay):
    """The host form, and CONNECT as a proxy's client sends it."""
    at = ("--resolve", f"ptth.relay.test:{relay.port}:127.0.0.1")
    assert curl(*at, f"http://ptth.relay.test:{relay.port}/hello").stdout == b"hello\n"
    arrived = seen(*at, f"http://ptth.relay.test:{relay.port}/seen")
    assert arrived["headers"]["x-forwarded-host"] == f"ptth.relay.test:{relay.port}", arrived
    for domain in ("ptth", "classic"):
        through = curl("-p", "-x", relay.url, f"http://{domain}.relay.test:80/hello").stdout
        assert through == b"hello\n", through
    nobody = run(need("curl"), "-sSi", f"{relay.url}/nobody/").stdout_text
    assert nobody.startswith("HTTP/1.1 504") and "X-Relay-Error: no-gateway" in nobody, nobody


def with_ab(base):
    ab = need("ab")
    for kept in ((), ("-k",)):
        said = run(ab, "-q", "-n", 2000, "-c", 16, *kept, f"{base}/hello", limit=60).stdout_text
        assert re.search(r"Complete requests: +2000", said), said
        assert re.search(r"Failed requests: +0", said) and "Non-2xx" not in said, said
        if kept:
            assert re.search(r"Keep-Alive requests: +2000", said), said
    said = run(ab, "-q", "-n", 300, "-c", 8, "-k", "-p", "/etc/services", "-T", "text/plain", f"{base}/echo").stdout_text
    assert re.search(r"Failed requests: +0", said) and "Non-2xx" not in said, said


def with_wrk(base):
    said = run(need("wrk"), "-t2", "-c32", "-d3s", f"{base}/hello").stdout_text
    requests = int(re.search(r"(\d+) requests in", said)[1])
    assert requests > 100 and "Socket errors" not in said and "Non-2xx" not in said, said
    return requests


def test():
    for program in ("curl", "ab", "wrk", "node"):
        need(program)
    bulk = os.path.join(harness.directory, "bulk")
    with open(bulk, "wb") as file:
        file.write(BULK)
    relay = Relay("--hostname", "relay.test", "--cores", harness.cores(2))
    target = service()
    relay.gateway("ptth", target, "--strip-prefix")
    relay.gateway("classic", target, "--strip-prefix", "--dialect", "classic")
    with_names(relay)
    for domain in ("ptth", "classic"):
        base = f"{relay.url}/{domain}"
        with_curl(relay, base, bulk)
        with_ab(base)
        print(f"{domain}: curl, ab and wrk ({with_wrk(base)} requests)")
    relay.end()


main(test, 240)
