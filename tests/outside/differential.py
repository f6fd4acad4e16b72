"""Whatever the relay passes on, other programs read as it does, or refuse.

Generated requests, valid ones and odd ones, go through a relay to a gateway of each dialect that only records. What was
recorded is given to Node, Python's http.server, nginx and hyper, each time with a harmless request behind it: each
refuses, or reads a body as long as the relay framed it and then answers the other request by itself. Generated responses
go the other way, to a client that records, and from there to Node, Python's http.client, curl and nginx as a proxy whose
clients share its connections: the same body or none, and never an answer to another request.

RINGBACK_DIFFERENTIAL=N generates N of each instead of 200; RINGBACK_DIFFERENTIAL_SEED=N others;
RINGBACK_DIFFERENTIAL_ONLY=request:12 shows one in full.
"""
import collections
import os
import queue
import threading
import traceback

import harness
from harness import Relay, main, need
from peers import fetchers, generate, relayed, servers

CASES = int(os.environ.get("RINGBACK_DIFFERENTIAL", 200))
SEED = int(os.environ.get("RINGBACK_DIFFERENTIAL_SEED", 1))
ONLY = os.environ.get("RINGBACK_DIFFERENTIAL_ONLY")
DIALECTS = ("ptth", "classic")
# Cases at a time: most of their time they wait.
LANES = 16


class Findings:
    """What was wrong, in classes, and what was seen."""

    def __init__(self):
        self.lock = threading.Lock()
        self.classes = collections.defaultdict(list)
        self.counts = collections.Counter()

    def count(self, *names):
        with self.lock:
            self.counts.update(names)

    def wrong(self, case, direction, dialect, who, what, evidence):
        with self.lock:
            self.classes[direction, dialect, who, what].append((case.number, case.label, evidence))

    def said(self):
        lines = []
        for (direction, dialect, who, what), cases in sorted(self.classes.items()):
            number, _, evidence = min(cases)
            labels = collections.Counter(label for _, label, _ in cases)
            odd = ", ".join(label for label, _ in labels.most_common(60))
            lines.append(f"{len(cases)} x {direction} to {dialect}: {who} {what}: {odd}\n    {direction}:{number}: {evidence}")
        return "\n".join(lines)


def show(*what):
    if ONLY:
        print(*what, flush=True)


def request(found, relay, peers, number):
    for dialect in DIALECTS:
        for domain, silence in ("q", relayed.SILENCE), ("again", relayed.PATIENCE):
            case = generate.request(SEED, number, f"{domain}{number}{dialect}")
            passed = relayed.request(relay, dialect, case, silence)
            if not passed.rest:
                break
        show(dialect, case.label, case.raw, passed)
        if passed.refused:
            found.count(f"requests to {dialect} refused")
            if case.has_body:
                found.wrong(case, "request", dialect, "the relay", "refuses what is valid", passed.answers[:400])
            continue
        found.count(f"requests to {dialect} passed on")
        smuggled = [one for one in passed.requests if b"/smuggled-" in one.lstrip(b"\r\n").split(b"\n")[0]]
        if case.has_body and smuggled:
            found.wrong(case, "request", dialect, "the relay", "takes a body for a request", case.raw)
        for name, address in peers.items():
            wrong, seen, took = servers.read_request(name, address, passed, case)
            show(" ", name, wrong, seen, f"{took:.2f} s")
            found.count(f"{name} has read")
            if seen.responses and seen.responses[0][1]:
                found.count(f"{name} has accepted")
            if wrong:
                found.wrong(case, "request", dialect, name, wrong, (passed.requests or [passed.rest])[0])


def response(found, relay, clients, origin, number):
    for dialect in DIALECTS:
        for domain, silence in ("p", relayed.SILENCE), ("again", relayed.PATIENCE):
            case = generate.response(SEED, number, f"{domain}{number}{dialect}")
            answered = relayed.response(relay, dialect, case, silence)
            if answered.end != "silent":
                break
        show(dialect, case.label, case.raw, answered)
        if answered.end == "silent":
            found.wrong(case, "response", dialect, "the relay", "neither answers nor closes", case.raw)
            continue
        if b"X-Relay-Error: " in answered.response or not answered.response:
            found.count(f"responses from {dialect} refused")
            continue
        found.count(f"responses from {dialect} passed on")
        for name, client in clients.items():
            wrong, got = fetchers.read_response(client, name, origin, answered, case)
            show(" ", name, wrong, got)
            found.count(f"{name} has fetched")
            if got[0].status and not got[0].error:
                found.count(f"{name} has taken")
            if wrong:
                found.wrong(case, "response", dialect, name, wrong, (answered.end, answered.response[:600]))


def in_lanes(work, lanes, numbers):
    """Does `work(lane, number)` for all numbers; the first exception of any is raised."""
    todo = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    failures = []

    def lane_of(lane):
        try:
            while not failures:
                work(lane, todo.get_nowait())
        except queue.Empty:
            pass
        except BaseException:
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=lane_of, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test():
    for program in ("node", "curl", "nginx"):
        need(program)
    # The relay waits for nobody longer than this test does.
    relay = Relay("--early-204", "--hostname", "relay.test", "--linger", "200ms", "--client-wait", "500ms",
                  "--absent-wait", "500ms", "--start-grace", "0s", "--cores", harness.cores(2))
    address = "127.0.0.1", relay.port
    found = Findings()
    direction, only = (ONLY.split(":")[0], int(ONLY.split(":")[1])) if ONLY else (None, None)
    if direction in (None, "request"):
        peers = servers.all_servers()
        in_lanes(lambda _, number: request(found, address, peers, number), range(1 if ONLY else LANES),
                 [only] if ONLY else range(CASES))
    if direction in (None, "response"):
        origins = [fetchers.Origin() for _ in range(1 if ONLY else LANES)]
        clients = {"node": fetchers.Node(), "python": fetchers.Python(), "curl": fetchers.Curl(),
                   "nginx": fetchers.Nginx(origins)}
        in_lanes(lambda origin, number: response(found, address, clients, origin, number), origins,
                 [only] if ONLY else range(CASES))
        clients["node"].end()
    print("; ".join(f"{what}: {count}" for what, count in sorted(found.counts.items())))
    assert not found.classes, f"{sum(map(len, found.classes.values()))} cases of {len(found.classes)} classes:\n{found.said()}"
    if not ONLY:
        not_vacuous(found.counts)
    relay.end()


def not_vacuous(counts):
    """Enough got through to everybody for the rest to mean something."""
    for dialect in DIALECTS:
        for what in (f"requests to {dialect}", f"responses from {dialect}"):
            passed, refused = counts[f"{what} passed on"], counts[f"{what} refused"]
            assert passed > CASES // 4 and refused > 0, f"{what}: {passed} passed on, {refused} refused"
    for name in ("node", "python", "nginx", "hyper"):
        assert counts[f"{name} has accepted"] > counts[f"{name} has read"] // 4, f"{name} refuses most requests"
    for name in ("node", "python", "nginx", "curl"):
        assert counts[f"{name} has taken"] > counts[f"{name} has fetched"] // 4, f"{name} refuses most responses"


main(test, 60 + CASES)
