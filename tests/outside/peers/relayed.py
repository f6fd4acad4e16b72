"""What the relay makes of a message: the exchange seen from both of its sides, by sockets that only record.

Every case has a domain, a gateway and a client of its own, so that none can touch another.
"""
import contextlib
import re
import select
import socket
import time
from dataclasses import dataclass, field

from . import generate, read

# Without a byte for this long, nothing more is coming.
SILENCE = 1
# A machine that is busy may be slower: so long before it counts.
PATIENCE = 4
# How long a whole exchange may take.
EXCHANGE = 10
# What is passed on with the rest arrives with it; a little later at most.
GRACE = 0.01
# How long a gateway keeps its connection after its response when nobody asks again.
HOLD = 0.15
CLASSIC_204 = b"HTTP/1.1 204 \r\n\r\n"


def connect(address):
    stream = socket.create_connection(address, timeout=EXCHANGE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def receive(stream):
    """What is there; b"" at the end, whichever."""
    try:
        return stream.recv(1 << 16)
    except OSError:
        return b""


def read_until(stream, end):
    data = b""
    while end not in data:
        part = stream.recv(4096)
        if not part:
            raise AssertionError(f"the relay ended a registration: {data!r}")
        data += part
    return data.partition(end)[2]


def register(address, dialect, domain):
    """A gateway's connection; for classic ones the 101 is still to come. The relay has --early-204."""
    stream = connect(address)
    if dialect == "ptth":
        stream.sendall(b"GET /%s HTTP/1.1\r\nHost: relay.test\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%%2F1.1\r\n\r\n"
                       % domain.encode())
        assert read_until(stream, b"\r\n\r\n") == b""
        return stream
    post = b"POST /%s HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: relay.test\r\n\r\n" % domain.encode()
    stream.sendall(post)
    assert read_until(stream, CLASSIC_204) == b""
    stream.sendall(post)
    return stream


@dataclass
class Passed:
    """A request as it was passed on, and what the client was told."""
    requests: list = field(default_factory=list)
    # What the gateway had got of a request that did not end.
    rest: bytes = b""
    answers: bytes = b""
    marked: bool = False

    @property
    def refused(self):
        return not self.requests and not self.rest


class Gateway:
    """The gateway's end of one exchange."""

    def __init__(self, address, dialect, domain):
        self.stream = register(address, dialect, domain)
        self.data = b""
        self.welcomed = dialect == "ptth"

    def receive(self):
        """Whether it is still there."""
        part = receive(self.stream)
        self.data += part
        if not self.welcomed and b"\r\n\r\n" in self.data:
            self.data = self.data.partition(b"\r\n\r\n")[2]
            self.welcomed = True
        return bool(part)

    def has_request(self):
        if not self.welcomed:
            return False
        try:
            return read.request_end(self.data) is not None
        except ValueError:
            return False

    def send(self, data):
        try:
            self.stream.sendall(data)
        except OSError:
            pass


def request(address, dialect, case, silence=SILENCE):
    """Sends a case's request and the marker at once, answers what the gateway gets, and tells what it got."""
    marker = generate.marker_request(case.domain, case.number)
    marked = b"/marker-%d " % case.number
    passed = Passed()
    gateway = Gateway(address, dialect, case.domain)
    client = connect(address)
    with gateway.stream, client:
        client.sendall(case.raw + marker)
        open_streams = {client, gateway.stream}
        until = time.monotonic() + EXCHANGE
        while client in open_streams and time.monotonic() < until:
            wait = GRACE if gateway.has_request() else silence
            ready, _, _ = select.select(list(open_streams), [], [], wait)
            if gateway.stream in ready and not gateway.receive():
                open_streams.discard(gateway.stream)
            if client in ready:
                part = receive(client)
                passed.answers += part
                if not part:
                    open_streams.discard(client)
            if ready:
                continue
            if not gateway.has_request():
                break
            whole, gateway.data = gateway.data, b""
            line = whole.lstrip(b"\r\n").split(b"\n")[0]
            if marked in line:
                passed.marked = True
                gateway.send(generate.marker_response(case.number))
                break
            passed.requests.append(whole)
            if line.startswith(b"CONNECT "):
                # Declined: there is no tunnel.
                gateway.send(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            else:
                gateway.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % ((0, b"") if line.startswith(b"HEAD ") else (2, b"ok")))
    passed.rest = gateway.data
    return passed


def relays_own(told, head_only):
    """Where the relay's own answer to the marker begins: a gateway that has gone after its response has left nobody to
    answer it."""
    for found in re.finditer(rb"HTTP/1\.1 50\d [^\r\n]*\r\n(?:[^\r\n]+\r\n)*?X-Relay-Error: ([a-z-]+)\r\n", told):
        absent = found[1] in (b"gateway-absent", b"gateway-busy", b"no-gateway")
        if found.start() and (absent or read.final_response(told[:found.start()], head_only)):
            return found.start()
    return None


@dataclass
class Answered:
    """A response as the client got it, up to the marker's."""
    response: bytes = b""
    # The client's connection served the marker, too; or it was closed; or neither.
    end: str = "silent"
    # The client was sent something behind the marker's response.
    behind: bytes = b""


def response(address, dialect, case, silence=SILENCE):
    """Has the gateway send a case's response and tells what its client got; the client asks for the marker, too."""
    answered = Answered()
    gateway = Gateway(address, dialect, case.domain)
    client = connect(address)
    told = b""
    marker = generate.marker_response(case.number)
    # What the relay adds to a head must not hide it.
    mark = re.compile(rb"HTTP/1\.1 200 OK\r\nX-Marker: marker-%d\r\n(?:[^\r\n]+\r\n)*\r\nmarker-%d" % (case.number, case.number))
    with gateway.stream, client:
        client.sendall(case.request + generate.marker_request(case.domain, case.number))
        open_streams = {client, gateway.stream}
        sent = None
        until = time.monotonic() + EXCHANGE
        while client in open_streams and time.monotonic() < until:
            wait = silence
            if sent is not None and gateway.stream in open_streams:
                wait = max(sent + HOLD - time.monotonic(), 0)
            ready, _, _ = select.select(list(open_streams), [], [], wait)
            if gateway.stream in ready:
                if not gateway.receive():
                    open_streams.discard(gateway.stream)
                    gateway.stream.close()
                elif gateway.has_request():
                    marked = b"/marker-" in gateway.data.split(b"\n")[0]
                    gateway.data = b""
                    gateway.send(marker if marked else case.raw)
                    sent = time.monotonic()
                    if not marked and case.closes:
                        # The relay may have ended the connection already.
                        with contextlib.suppress(OSError):
                            gateway.stream.shutdown(socket.SHUT_WR)
            if client in ready:
                part = receive(client)
                told += part
                if not part:
                    open_streams.discard(client)
                    answered.end = "closed"
                elif mark.search(told) or relays_own(told, case.method == b"HEAD"):
                    answered.end = "kept"
                    break
            if not ready:
                if gateway.stream not in open_streams or sent is None:
                    break
                # A device that has answered and is asked nothing more goes away.
                open_streams.discard(gateway.stream)
                gateway.stream.close()
    # The relay may have answered and closed in one go.
    own = relays_own(told, case.method == b"HEAD")
    found = mark.search(told)
    if found or own:
        answered.end = "kept"
    answered.response = told[:found.start() if found else own]
    answered.behind = told[found.end():] if found else b""
    return answered
