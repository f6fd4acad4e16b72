"""The servers that read what the relay passes on, and what they make of it."""
import http.server
import json
import os
import re
import socket
import threading
import time
from dataclasses import dataclass, field

import harness
from . import generate, read

# Without a byte for this long a server is waiting for more.
SILENCE = 1
# A machine that is busy may be slower: so long before it counts.
PATIENCE = 5
WAITS = "waits for more"
SWALLOWED = "has swallowed the next request"


# Longer bodies are refused.
BODY_MAX = 1 << 20


class Quiet(http.server.ThreadingHTTPServer):
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """Clients that have gone are nothing to speak of."""


class Length(http.server.BaseHTTPRequestHandler):
    """Python's server with the handler that its documentation has people write: a body has a length."""
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self):
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= BODY_MAX or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self.send_error(501 if "Transfer-Encoding" in self.headers else 413 if length > 0 else 400)
            return
        bytes_read = len(self.rfile.read(length))
        self.send_response(200)
        self.send_header("X-Said", json.dumps({"url": self.path, "bytes": bytes_read}))
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"said\n")

    def log_message(self, *_):
        pass


def python():
    server = Quiet(("127.0.0.1", 0), Length)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address


def node():
    child = harness.start("node", harness.need("node"), os.path.join(os.path.dirname(__file__), "length.js"))
    return address_of(child)


def address_of(child):
    host, port = child.wait_for(r"listening at (\S+):(\d+)").groups()
    return host, int(port)


def hyper():
    program = os.path.join(os.path.dirname(harness.ringback()), "examples", "length")
    if not os.path.exists(program):
        raise harness.Skip(f"there is no {program}: cargo build --profile ci --example length")
    return address_of(harness.start("hyper", program))


NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_next_upstream off;
    proxy_connect_timeout 5s;
    proxy_read_timeout 5s;
{servers}
}}
"""


def nginx(name, servers):
    """An nginx with these server blocks; it may take ports that somebody else took first, and then fails loudly."""
    program = harness.need("nginx")
    folder = os.path.join(harness.directory, name)
    os.makedirs(folder)
    config = os.path.join(folder, "nginx.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(NGINX.format(folder=folder, servers=servers))
    return harness.start(name, program, "-p", folder, "-e", os.path.join(folder, "error.log"), "-c", config)


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def nginx_before(address):
    """nginx as a proxy of a server whose answers say what arrived there."""
    port = harness.free_port()
    nginx("nginx-requests", f"""
    upstream said {{ server {address[0]}:{address[1]}; keepalive 8; }}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://said; }} }}
""")
    harness.eventually("nginx listens", lambda: listening(port))
    return "127.0.0.1", port


def all_servers():
    """Name and address of each."""
    of_node = node()
    return {"node": of_node, "python": python(), "nginx": nginx_before(of_node), "hyper": hyper()}


@dataclass
class Read:
    """What a server answered: status and X-Said of each response, and whether it then closed."""
    responses: list = field(default_factory=list)
    closed: bool = False


def responses_in(data, heads_only):
    """The final responses at the beginning of `data`; whether they fill it."""
    found = []
    while data:
        head = read.head_of(data)
        if not head:
            return found, False
        line, fields, at = head
        status = int(re.match(rb"HTTP/1\.[01] (\d\d\d)", line)[1]) if line.startswith(b"HTTP/1.") else 0
        if 100 <= status < 200:
            data = data[at:]
            continue
        length = read.values(fields, b"content-length")
        said = read.values(fields, b"x-said")
        # Only the first may be the answer to HEAD.
        size = 0 if heads_only and not found else int(length[0]) if length else len(data) - at
        if status == 0 or len(data) < at + size:
            return found, False
        found.append((status, json.loads(said[0]) if said else None))
        data = data[at + size:]
    return found, True


def ask(address, message, marker, mark, head_only, silence):
    """Sends a message and the marker on one connection; what the server answers until it has answered the marker,
    closes, or falls silent."""
    seen = Read()
    data = b""
    with socket.create_connection(address, timeout=silence) as stream:
        try:
            stream.sendall(message + marker)
            while True:
                part = stream.recv(1 << 16)
                if not part:
                    seen.closed = True
                    break
                data += part
                found, _ = responses_in(data, head_only)
                if any(said and mark in said["url"] for _, said in found):
                    # Nothing may follow.
                    stream.settimeout(0.02)
        except TimeoutError:
            pass
        except OSError:
            seen.closed = True
    seen.responses, _ = responses_in(data, head_only)
    return seen


# What a server does against the standard, or beyond it, that is none of the relay's: `(server, verdict)`, the field
# that brings it about, and why it is let pass.
EXCEPTIONS = {
    ("node", SWALLOWED): (b"upgrade", "node's parser stops at an upgrade, even one that it declines: what follows is "
                                      "neither read nor answered, and so not taken for anything else"),
}


def judge(seen, framed, mark):
    """What is wrong with a server's reading of a request whose body we have framed as so long; None if nothing is.
    `framed` is None for a request that did not end: nobody may take it for whole."""
    refused = bool(seen.responses) and seen.responses[0][0] >= 400
    for number, (status, said) in enumerate(seen.responses):
        if said and "smuggled" in said["url"]:
            return "takes the body for a request"
        if said and mark in said["url"] and number > 0:
            continue
        if number > 0 and status < 400:
            return "answers more than it was asked"
        if number == 0 and said:
            if framed is None:
                return "takes for whole what is not"
            if said["bytes"] != framed:
                return f"reads another length ({said['bytes']}, not {framed})"
        if number == 0 and status < 400 and not said:
            return f"answers {status}"
    # A server that has refused need not answer any more.
    if framed is None or seen.closed or refused:
        return None
    if not seen.responses:
        return WAITS
    if not any(said and mark in said["url"] for _, said in seen.responses):
        return SWALLOWED
    return None


def read_request(name, address, passed, case):
    """What is wrong with how a server reads the first request passed on."""
    marker = generate.marker_request(case.domain, case.number)
    mark = f"marker-{case.number}"
    message = passed.requests[0] if passed.requests else passed.rest
    framed = read.body_length(message) if passed.requests else None
    line = message.lstrip(b"\r\n").split(b"\n")[0]
    if not passed.requests:
        marker = b""
    began = time.monotonic()
    head = read.head_of(message)
    for silence in (SILENCE, PATIENCE):
        seen = ask(address, message, marker, mark, line.startswith(b"HEAD "), silence)
        wrong = judge(seen, framed, mark)
        if head and (name, wrong) in EXCEPTIONS and read.values(head[1], EXCEPTIONS[name, wrong][0]):
            wrong = None
        if wrong not in (WAITS, SWALLOWED):
            break
    return wrong, seen, time.monotonic() - began
