"""An event stream whose every event arrives before the next is sent: the service sends event n+1 only after the
client has said, past the relay, that it has event n. One buffered byte anywhere and this stands still."""
import socket
import socketserver
import threading

from harness import Relay, cores, main

EVENTS = 200
PATIENCE = 5  # seconds for one event

acknowledged = {}


class Service(socketserver.StreamRequestHandler):
    """Server-sent events: chunked for HTTP/1.1 paths that say so, else until close."""

    disable_nagle_algorithm = True

    def handle(self):
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        chunked = path.endswith("chunked")
        framing = "Transfer-Encoding: chunked" if chunked else "Connection: close"
        self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n\r\n".encode())
        turn = acknowledged[path]
        for n in range(EVENTS):
            event = f"id: {n}\ndata: event {n} of {path}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event) if chunked else event)
            if not turn.acquire(timeout=PATIENCE):
                return
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def listen(port, path):
    turn = acknowledged[path]
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.settimeout(PATIENCE)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: relay\r\nAccept: text/event-stream\r\n\r\n".encode())
        so_far = b""
        for n in range(EVENTS):
            expected = f"id: {n}\ndata: event {n} of {path}\n\n".encode()
            while expected not in so_far:
                try:
                    more = client.recv(4096)
                except TimeoutError:
                    raise AssertionError(f"event {n} of {path} was sent and has not arrived; so far {so_far!r}")
                assert more, f"the stream {path} ended before event {n}: {so_far!r}"
                so_far += more
            # Nothing of the next can be here: it is not sent yet.
            after = so_far.split(expected, 1)[1]
            assert after in (b"", b"\r\n", b"\r", b"\n"), f"{after!r} behind event {n} of {path}"
            so_far = so_far[-2:]
            turn.release()


def test():
    server = Server(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target = f"127.0.0.1:{server.server_address[1]}"
    relay = Relay("--cores", cores(2))
    relay.gateway("ptth", target)
    relay.gateway("classic", target, "--dialect", "classic")
    paths = [f"/{domain}/{n}/{form}" for domain in ("ptth", "classic") for n in range(4) for form in ("chunked", "close")]
    for path in paths:
        acknowledged[path] = threading.Semaphore(0)
    failures = []

    def one(path):
        try:
            listen(relay.port, path)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=one, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    relay.end()
    print(f"{len(paths)} streams of {EVENTS} events, each event acknowledged before the next was sent")


main(test, 90)
