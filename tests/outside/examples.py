"""The example devices in Python, JavaScript and C: each serves requests with and without a body, asks again after a
204, and comes back by itself after whatever ends its connections: a relay that is killed or silent, a client that
leaves."""
import contextlib
import os
import re
import signal
import socket
import struct

import harness
from harness import READY_SECONDS, ROOT, Relay, eventually, main, need, run, start

EXAMPLES = os.path.join(ROOT, "examples", "device")
# How many connections each device keeps.
CONNECTIONS = 2
# How often a device is asked while its processor time is looked at.
REQUESTS = 40
ACCEPTED = b"HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n"
ASK_AGAIN = b"HTTP/1.1 204 \r\n\r\n"
RESERVED = b"HTTP/1.1 401 \r\nWWW-Authenticate: Bearer\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 100000\r\n\r\n"


def devices(silence=None):
    """The command of each example, without its arguments; with another limit on silence if one is given."""
    directory = EXAMPLES
    if silence:
        directory = os.path.join(harness.directory, "impatient")
        os.mkdir(directory)
        for name in os.listdir(EXAMPLES):
            with open(os.path.join(EXAMPLES, name), encoding="utf-8") as example:
                text = example.read()
            assert text.count("SILENCE = 75") == 1, name
            with open(os.path.join(directory, name), "w", encoding="utf-8") as copy:
                copy.write(text.replace("SILENCE = 75", f"SILENCE = {silence}"))
    compiled = os.path.join(harness.directory, f"device-{silence}")
    source = os.path.join(directory, "device.c")
    run(need("cc"), "-Wall", "-Wextra", "-Werror", "-O2", "-pthread", "-o", compiled, source)
    return {
        "Python": (need("python3"), os.path.join(directory, "device.py")),
        "JavaScript": (need("node"), os.path.join(directory, "device.js")),
        "C": (compiled,),
    }


def started(language, command, port):
    return start(language, *command, "127.0.0.1", port, f"device-{language}")


def curl(*options, **more):
    return run(need("curl"), "-sS", "--fail-with-body", "--max-time", "10", *options, **more)


def answers(relay, language):
    return curl(f"{relay.url}/device-{language}/", check=False).returncode == 0


def pauses(device):
    """How long the device said it would wait after each failure, in seconds."""
    return [float(seconds) for seconds in re.findall(r"trying again in (\d+\.\d+) s", device.said())]


def abort_uploads(relay, language, device):
    """A client leaves in the middle of its request, in order and by a reset, until the device has seen one of each."""
    for linger in (0, 1):
        before = len(pauses(device))

        def noticed():
            with socket.create_connection(("127.0.0.1", relay.port), READY_SECONDS) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", linger, 0))
                head = f"POST /device-{language}/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 100000000\r\n\r\n"
                with contextlib.suppress(ConnectionError):
                    client.sendall(head.encode() + bytes(1 << 20))
            return len(pauses(device)) > before

        eventually(f"the device in {language} notices an aborted upload", noticed)


def ticks_for_requests(relay, language, device):
    before = device.cpu_ticks()
    for n in range(REQUESTS):
        curl(f"{relay.url}/device-{language}/{n}")
    return device.cpu_ticks() - before


def serves(relay, language, device):
    """What a device does while all is well, and with clients that are not."""
    url = f"{relay.url}/device-{language}"
    hello = f"hello from a device in {language}, "
    eventually(f"the device in {language} answers", lambda: answers(relay, language))
    for n in range(20):
        said = curl(f"{url}/{n}").stdout_text
        assert said.startswith(f"{hello}GET /device-{language}/{n}"), said
        # Asked for one after another on one connection of the client's.
        said = curl("--data-binary", "@/etc/services", f"{url}/a", f"{url}/b").stdout_text
        assert said.count(hello) == 2, said
    said = curl("-X", "PUT", "-H", "Transfer-Encoding: chunked", "--data-binary", "@/etc/services", url).stdout_text
    assert said.startswith(hello), said
    said = curl("--head", url).stdout_text
    assert said.startswith("HTTP/1.1 200"), said
    usual = ticks_for_requests(relay, language, device)
    abort_uploads(relay, language, device)
    after = ticks_for_requests(relay, language, device)
    assert after <= 2 * usual + 10, f"{language}: {after} ticks after an aborted upload, {usual} before"
    return f"{language} {usual} and {after}"


class Pretender:
    """A relay of this test's own."""

    def __init__(self, language, command):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(READY_SECONDS)
        self.language = language
        self.device = started(language, command, self.listener.getsockname()[1])

    def registered(self, connection=None):
        """A connection with a registration, a new one unless one is given."""
        if connection is None:
            connection = self.listener.accept()[0]
            connection.settimeout(READY_SECONDS)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = connection.recv(4096)
            assert data, f"{self.language}: no registration but {head}"
            head += data
        assert head.startswith(f"POST /device-{self.language} HTTP/1.1\r\n".encode()), head
        return connection

    def asks(self, connection, request, half_close=False):
        """Has the device answer a request; returns all that comes until it ends the connection."""
        with connection:
            connection.sendall(ACCEPTED + request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            said = b""
            while data := connection.recv(65536):
                said += data
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), f"{self.language}: {said}"
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        assert len(body) == (0 if request.startswith(b"HEAD") else length) and length > 0, f"{self.language}: {said}"

    def end(self):
        assert self.device.process.poll() is None, f"{self.language} ended: {self.device.said()}"
        self.device.end()
        self.listener.close()


def answers_well(pretender):
    connection = pretender.registered()
    for _ in range(3):
        connection.sendall(ASK_AGAIN)
        pretender.registered(connection)
    pretender.asks(connection, GET)
    pretender.asks(pretender.registered(), GET.replace(b"GET", b"HEAD"))
    # A client that ends its side still gets its answer,
    pretender.asks(pretender.registered(), GET, half_close=True)
    # and so does one that sends what nobody asked for: no reset overtakes the answer.
    pretender.asks(pretender.registered(), GET + bytes(200_000))


def backs_off(pretender):
    for _ in range(4 * CONNECTIONS):
        pretender.registered().close()
    eventually("the device backs off", lambda: len(pauses(pretender.device)) == 4 * CONNECTIONS)
    said = sorted(pauses(pretender.device))
    # Each of its connections has each step once.
    for n, pause in enumerate(said):
        assert pause >= 0.05 * 2 ** (n // CONNECTIONS) - 0.001, f"{pretender.language}: {said}"
    assert len(set(said)) > 4, f"{pretender.language} has no jitter: {said}"
    # After a registration that was accepted it begins anew.
    connections = [pretender.registered() for _ in range(CONNECTIONS)]
    for connection in connections:
        connection.sendall(ASK_AGAIN)
        pretender.registered(connection).close()
    eventually("the device tries again", lambda: len(pauses(pretender.device)) == 5 * CONNECTIONS)
    said = pauses(pretender.device)[-CONNECTIONS:]
    assert max(said) <= 0.1, f"{pretender.language}: {said}"


def comes_back(pretender):
    """After every kind of end the device dials again."""
    # While it answers many 204s the connection ends, so that it writes to one that has ended.
    ends = (b"", b"HTTP/1.1 2", RESERVED, ASK_AGAIN, 500 * ASK_AGAIN, b"no HTTP\r\n\r\n", ACCEPTED, ACCEPTED + GET[:20],
            ACCEPTED + POST, ACCEPTED + POST + bytes(1000))
    for said in ends:
        for linger in (0, 1):
            connection = pretender.registered()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", linger, 0))
            connection.sendall(said)
            connection.close()
        # Keeps the pauses short.
        pretender.asks(pretender.registered(), GET)
    for connection in [pretender.registered() for _ in range(CONNECTIONS)]:
        pretender.asks(connection, GET)


def test():
    options = ("--classic-poll-interval", "1s", "--client-wait", "5s")
    relay = Relay(*options)
    commands = devices()
    running = {language: started(language, command, relay.port) for language, command in commands.items()}
    ticks = [serves(relay, language, device) for language, device in running.items()]
    asked = relay.counted("asked-again")
    twice = asked + 2 * CONNECTIONS * len(running)
    eventually("devices are asked again", lambda: relay.counted("asked-again") >= twice)
    for language in running:
        curl(f"{relay.url}/device-{language}/again")

    failures = {language: len(pauses(device)) for language, device in running.items()}
    relay.child.end(signal.SIGKILL)
    for language, device in running.items():
        more = failures[language] + 2 * CONNECTIONS
        eventually(f"the device in {language} notices", lambda: len(pauses(device)) >= more)
    relay = Relay(*options, port=relay.port)
    for language, device in running.items():
        eventually(f"the device in {language} comes back", lambda: answers(relay, language))
        assert device.process.poll() is None, f"{language} ended: {device.said()}"
    relay.end()

    for language, command in commands.items():
        pretender = Pretender(language, command)
        backs_off(pretender)
        answers_well(pretender)
        comes_back(pretender)
        pretender.end()
    for language, command in devices(silence=1).items():
        pretender = Pretender(language, command)
        silent = [pretender.registered() for _ in range(2 * CONNECTIONS)]
        pretender.end()
        for connection in silent:
            connection.close()
    print(f"processor ticks for {REQUESTS} requests before and after an aborted upload: {', '.join(ticks)}")


main(test, 120)
