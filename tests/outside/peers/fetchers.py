"""The clients that read what the relay answers, at an origin that answers exactly that, and what they make of it."""
import base64
import http.client
import json
import os
import queue
import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

import harness
from . import generate, read
from .servers import listening, nginx

# How long the origin keeps a connection that the relay would have closed: who uses it again has not understood.
HOLD = 0.06
# How long a final response comes behind an interim one.
PAUSE = 0.03
INTERIM = re.compile(rb"(?:HTTP/1\.1 1\d\d [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)+")
CONFUSED = b"HTTP/1.1 200 OK\r\nX-Marker: confused\r\nContent-Length: 8\r\n\r\nconfused"
# As long as a client may take.
LIMIT = 5


@dataclass
class Got:
    """Status and body of an answer, or why there is none."""
    status: int = 0
    body: bytes = b""
    error: str = ""


class Origin:
    """Answers `/case` with what the relay answered, and `/marker` with the marker. One case at a time."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.answered = self.number = None
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def begin(self, answered, number):
        """The case from now on; connections of the one before are ended."""
        for stream in self.open:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []
        self.answered, self.number = answered, number

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.open.append(stream)
            threading.Thread(target=self.serve, args=(stream, self.answered, self.number), daemon=True).start()

    @staticmethod
    def serve(stream, answered, number):
        try:
            with stream:
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        part = stream.recv(4096)
                        if not part:
                            return
                        data += part
                    head, _, data = data.partition(b"\r\n\r\n")
                    if b"/marker" in head.split(b"\r\n")[0]:
                        stream.sendall(generate.marker_response(number))
                        continue
                    interim = INTERIM.match(answered.response)
                    if interim:
                        stream.sendall(interim[0])
                        time.sleep(PAUSE)
                    stream.sendall(answered.response[interim.end() if interim else 0:])
                    if answered.end != "kept":
                        stream.settimeout(HOLD)
                        if stream.recv(4096):
                            stream.sendall(CONFUSED)
                        return
        except OSError:
            pass


class Python:
    """Python's http.client on one connection, which it opens again when it was told to close."""
    # It takes any interim response but 100 for the final one, against RFC 9110 section 15.2, and the final one for the
    # next request's.
    excused = {"interim": ""}

    def fetch(self, origin, method, number):
        connection = http.client.HTTPConnection("127.0.0.1", origin.port, timeout=LIMIT)
        try:
            return tuple(self.ask(connection, *asked) for asked in ((method, f"/case-{number}"), ("GET", f"/marker-{number}")))
        finally:
            connection.close()

    @staticmethod
    def ask(connection, method, path):
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return Got(response.status, response.read())
        except (http.client.HTTPException, OSError, ValueError, OverflowError, MemoryError) as error:
            connection.close()
            return Got(error=type(error).__name__)


class Node:
    """Node's client with an agent that keeps connections."""
    excused = {}

    def __init__(self):
        self.process = subprocess.Popen([harness.need("node"), os.path.join(os.path.dirname(__file__), "fetch.js")],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        self.lock = threading.Lock()
        self.waiting = {}
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            self.waiting.pop(said["id"]).put(said)

    def fetch(self, origin, method, number):
        answer = queue.SimpleQueue()
        self.waiting[origin.port] = answer
        asked = {"id": origin.port, "port": origin.port, "method": method, "path": f"/case-{number}",
                 "marker": f"/marker-{number}"}
        with self.lock:
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
        said = answer.get(timeout=4 * LIMIT)
        return tuple(Got(one.get("status", 0), base64.b64decode(one.get("body", "")), one.get("error", ""))
                     for one in (said["first"], said["second"]))

    def end(self):
        """It ends with its standard input, also when the test dies."""
        self.process.stdin.close()
        self.process.wait(LIMIT)


class Curl:
    """curl, both requests in one run."""
    # curl 8.14, unlike 7.88, sees `close` only at the front of a list. The relay closes the connection all the same.
    excused = {"close-list": "uses a connection again"}

    def __init__(self):
        self.program = harness.need("curl")

    def fetch(self, origin, method, number):
        files = [os.path.join(harness.directory, f"curl-{origin.port}-{name}") for name in ("case", "marker")]
        for file in files:
            with open(file, "wb"):
                pass
        how = {"HEAD": ["-I"], "POST": ["-d", ""]}.get(method, [])
        common = ["-sS", "--max-time", str(LIMIT), "-w", "%{http_code} %{exitcode}\n"]
        base = f"http://127.0.0.1:{origin.port}"
        done = subprocess.run([self.program, *common, *how, "-o", files[0], f"{base}/case-{number}", "--next", *common,
                               "-o", files[1], f"{base}/marker-{number}"], capture_output=True, timeout=3 * LIMIT, check=False)
        found = []
        for line, file in zip(done.stdout.decode().splitlines(), files):
            status, code = line.split()
            with open(file, "rb") as body:
                # For HEAD curl writes the head where the body would be.
                found.append(Got(int(status), b"" if file == files[0] and method == "HEAD" else body.read(),
                                 "" if code == "0" else f"exit code {code}"))
        assert len(found) == 2, done
        return tuple(found)


class Nginx:
    """nginx as a proxy that keeps one connection to its upstream for all of its clients: one such proxy a lane."""
    # nginx up to 1.28 takes an interim response for the final one, and what follows for its body, up to the end of the
    # connection. Only that reading is excused: nobody else may get any of it.
    excused = {"interim": "reads "}

    def __init__(self, origins):
        self.ports = {origin.port: harness.free_port() for origin in origins}
        blocks = "".join(f"""
    upstream origin{number} {{ server 127.0.0.1:{origin}; keepalive 1; }}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://origin{number}; }} }}
""" for number, (origin, port) in enumerate(self.ports.items()))
        nginx("nginx-responses", blocks)
        for port in self.ports.values():
            harness.eventually("nginx listens", lambda port=port: listening(port))

    def fetch(self, origin, method, number):
        port = self.ports[origin.port]
        found = []
        for how, path in ((method, f"/case-{number}"), ("GET", f"/marker-{number}")):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
            found.append(Python.ask(connection, how, path))
            connection.close()
        return tuple(found)


def judge(answered, first, second, case, name):
    """What is wrong with a client's reading of a response; None if nothing is."""
    marker = b"marker-%d" % case.number
    if second.status == 200 and not second.error and second.body != marker:
        return f"takes {'the body' if b'smuggled' in second.body else 'what is none'} for the next response" \
            if b"confused" not in second.body else "uses a connection again that is not to be"
    final = read.final_response(answered.response, case.method == b"HEAD")
    if first.error or first.status >= 500 or not first.status:
        # It refuses.
        return None
    if final is None:
        return "reads what is none by the standard"
    if first.status != final[0]:
        return f"reads status {first.status}, not {final[0]}"
    if first.body != final[2]:
        return f"reads another body ({len(first.body)} bytes, not {len(final[2])})"
    if second.status != 200:
        return f"gets no answer to its next request ({second.error or second.status})" if name != "nginx" else None
    return None


def read_response(client, name, origin, answered, case):
    """What is wrong with how a client reads a response of ours, and what it got."""
    origin.begin(answered, case.number)
    time.sleep(0.002)
    first, second = client.fetch(origin, case.method.decode(), case.number)
    wrong = judge(answered, first, second, case, name)
    if wrong and any(wrong.startswith(what) for tag, what in client.excused.items() if tag in case.tags):
        wrong = None
    return wrong, (first, second)
