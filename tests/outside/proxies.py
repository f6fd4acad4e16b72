"""The sample configurations for HAProxy, nginx and Caddy in front of a relay: a device behind it learns that its client
came by https, to which host and from where, and believes nobody else; events, uploads and upgraded connections pass as
they come. Only ports and certificates are replaced in the samples."""
import http.client
import json
import os
import socket
import ssl
import threading

import harness
from harness import ROOT, Relay, Skip, eventually, free_port, main, need, run, start

SAMPLES = os.path.join(ROOT, "examples", "proxies")
# What a client claims that must not be believed.
LIES = {
    "X-Forwarded-For": "192.0.2.66",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=192.0.2.66;host=evil.example",
}
UPLOAD = os.urandom(3 << 20)


class Device:
    """A server that says what arrived, sends an event at a time, and switches protocols."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        # The second event waits for this.
        self.heard = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection = self.listener.accept()[0]
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rwb")
        while True:
            line = stream.readline()
            if not line:
                return
            target = line.split()[1].decode()
            headers = http.client.parse_headers(stream)
            if target == "/echo" and headers.get("Upgrade") == "shout":
                stream.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
                stream.flush()
                stream.write(stream.readline().upper())
                stream.flush()
                return connection.shutdown(socket.SHUT_RDWR)
            if target == "/events":
                stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                             b"d\r\ndata: first\n\n\r\n")
                stream.flush()
                assert self.heard.wait(20), "nobody has heard the first event"
                stream.write(b"e\r\ndata: second\n\n\r\n0\r\n\r\n")
                stream.flush()
                continue
            if headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(stream.readline(), 16):
                    body += stream.read(size)
                    stream.readline()
                stream.readline()
            else:
                body = stream.read(int(headers.get("Content-Length", 0)))
            if target == "/seen":
                body = json.dumps(headers.items()).encode()
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            stream.flush()


def certificate():
    key, crt, pem = (os.path.join(harness.directory, f"relay.{kind}") for kind in ("key", "crt", "pem"))
    run(need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
        "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", crt)
    with open(pem, "wb") as both:
        for part in (crt, key):
            with open(part, "rb") as file:
                both.write(file.read())
    return key, crt, pem


def sample(name, replaced, times=1):
    """Writes a sample with other ports and certificates, and returns its path."""
    with open(os.path.join(SAMPLES, name), encoding="utf-8") as file:
        lines = [line for line in file.read().splitlines() if not line.startswith("#")]
    text = "\n".join(lines) + "\n"
    for old, new in replaced.items():
        assert text.count(old) == times, f"{name}: {old!r} is there {text.count(old)} times"
        text = text.replace(old, str(new))
    path = os.path.join(harness.directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def haproxy(port, relay, key, crt, pem):
    config = sample("haproxy.cfg", {"bind :443": f"bind 127.0.0.1:{port}", "/etc/haproxy/relay.pem": pem,
                                    "127.0.0.1:8080": relay})
    start("haproxy", need("haproxy"), "-db", "-f", config)


def nginx(port, relay, key, crt, pem):
    config = sample("nginx.conf", {"listen 443": f"listen 127.0.0.1:{port}", "/etc/nginx/relay.crt": crt,
                                   "/etc/nginx/relay.key": key, "127.0.0.1:8080": relay})
    folder = os.path.join(harness.directory, "nginx")
    os.makedirs(folder)
    whole = os.path.join(folder, "whole.conf")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                    ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(whole, "w", encoding="utf-8") as file:
        file.write(f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n"
                   f"events {{}}\nhttp {{ access_log off; {paths}\ninclude {config};\n}}\n")
    start("nginx", need("nginx"), "-p", folder, "-e", os.path.join(folder, "error.log"), "-c", whole)


def caddy(port, relay, key, crt, pem):
    # Redirects would need port 80.
    config = sample("Caddyfile", {"relay.example.com {": "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
                                                         f"https://localhost:{port} {{\n"
                                                         f"\tbind 127.0.0.1\n\ttls {crt} {key}",
                                  "127.0.0.1:8080": relay})
    home = {**os.environ, "HOME": harness.directory, "XDG_DATA_HOME": harness.directory,
            "XDG_CONFIG_HOME": harness.directory}
    start("caddy", need("caddy"), "run", "--config", config, "--adapter", "caddyfile", env=home)


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def through(proxy, relay, device):
    files = certificate_files
    port = free_port()
    proxy(port, relay.address, *files)
    eventually(f"{proxy.__name__} listens", lambda: listening(port))
    context = ssl.create_default_context(cafile=files[1])

    def connect():
        return http.client.HTTPSConnection("localhost", port, timeout=30, context=context)

    def healthy():
        asking = connect()
        asking.request("GET", "/healthz")
        return asking.getresponse().read() == b"ok\n"

    eventually("the proxy takes the relay for healthy", healthy)
    client = connect()
    client.request("GET", "/device/seen", headers=LIES)
    seen = {name.lower(): value for name, value in json.loads(client.getresponse().read())}
    assert seen["x-forwarded-proto"] == "https", seen
    assert seen["x-forwarded-host"] == f"localhost:{port}", seen
    assert seen["x-forwarded-for"] == "127.0.0.1, 127.0.0.1", seen
    for lie in LIES.values():
        assert not any(lie in value for value in seen.values()), (lie, seen)

    device.heard.clear()
    client.request("GET", "/device/events")
    events = client.getresponse()
    first = events.readline() + events.readline()
    assert first == b"data: first\n\n", first
    device.heard.set()
    rest = events.read()
    assert rest == b"data: second\n\n", rest

    client.request("POST", "/device/echo", body=UPLOAD)
    assert client.getresponse().read() == UPLOAD
    client.request("POST", "/device/echo", body=iter([UPLOAD[:100_000], UPLOAD[100_000:]]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"})
    assert client.getresponse().read() == UPLOAD
    client.close()

    with context.wrap_socket(socket.create_connection(("localhost", port), 30), server_hostname="localhost") as raw:
        raw.sendall(f"GET /device/echo HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\n"
                    "Upgrade: shout\r\n\r\n".encode())
        stream = raw.makefile("rb")
        status = stream.readline()
        assert status.startswith(b"HTTP/1.1 101 "), status
        http.client.parse_headers(stream)
        raw.sendall(b"is anybody there?\n")
        said = stream.readline()
        assert said == b"IS ANYBODY THERE?\n", said


certificate_files = None


def test():
    global certificate_files
    there = [proxy for proxy in (haproxy, nginx, caddy) if harness.shutil.which(proxy.__name__, path=os.environ.get(
        "PATH", "") + ":/usr/sbin:/sbin")]
    if not there:
        raise Skip("neither haproxy nor nginx nor caddy is installed")
    certificate_files = certificate()
    relay = Relay("--trusted-proxies", "127.0.0.1", "--allow-any-gateway")
    device = Device()
    relay.gateway("device", device.address, "--strip-prefix")
    for proxy in there:
        through(proxy, relay, device)
    names = ", ".join(proxy.__name__ for proxy in there)
    print(f"https, events, uploads and an upgrade through {names}")
    relay.end()


main(test, 120)
