"""Other people's TLS against the relay's: curl, OpenSSL and Python, versions old and new, resumption, new keys; the gateway
and the tunnel by https, to a target that speaks https, too; and who must not be trusted is not."""
import functools
import hashlib
import http.server
import os
import re
import socket
import ssl
import threading

import harness
from harness import Relay, certificate, eventually, main, need, ringback, run, start

FILE = os.urandom(3 << 20)


def target(pair=None):
    """A server of one file, by TLS if it has a certificate; returns its port."""
    folder = os.path.join(harness.directory, "files")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "file"), "wb") as file:
        file.write(FILE)

    class Files(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=folder))
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def gateway(url, ca, domain, to):
    child = start(f"gateway-{domain}", ringback(), "gateway", "--relay", url, "--ca", ca, "--domain", domain, "--target", to,
                  "--strip-prefix")
    child.wait_for(f"connected to the relay, waiting for clients at {url}/{domain}/")


def curls(url, ca, other):
    for version, most in (("--tlsv1.2", "1.2"), ("--tlsv1.3", "1.3")):
        for path in ("plain/file", "secure/file"):
            got = run(need("curl"), "-sS", "--cacert", ca, version, "--tls-max", most, f"{url}/{path}").stdout
            assert hashlib.sha256(got).digest() == hashlib.sha256(FILE).digest(), f"{len(got)} bytes by {most}"
    code = run("curl", "-sS", "--cacert", other, f"{url}/plain/file", check=False).returncode
    assert code == 60, f"curl trusts a certificate of somebody else's: {code}"
    code = run("curl", "-sS", "--cacert", ca, "--tlsv1.0", "--tls-max", "1.1", f"{url}/plain/file", check=False).returncode
    assert code == 35, f"curl spoke an old version: {code}"


def client(port, said, *options):
    """openssl s_client; returns all that it shows."""
    done = run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *options, input=said,
               check=False)
    return done.stdout_text + done.stderr_text


def openssl(port):
    ask = b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"
    for version in ("-tls1_2", "-tls1_3"):
        kept = os.path.join(harness.directory, f"session{version}")
        # Tickets of 1.3 come behind the handshake: with the response, if not before.
        shown = client(port, ask, version, "-ign_eof", "-sess_out", kept)
        assert "HTTP/1.1 200 OK" in shown, shown
        again = client(port, ask, version, "-ign_eof", "-sess_in", kept)
        assert "Reused, " in again and "HTTP/1.1 200 OK" in again, again
    for old in ("-ssl3", "-tls1", "-tls1_1"):
        assert "HTTP/1.1 200 OK" not in client(port, ask, old, "-ign_eof")
    assert not re.search("Cipher is (?!.none|.NONE)", client(port, b"", "-tls1_2", "-cipher", "AES128-SHA:DES-CBC3-SHA"))


def new_keys(port):
    """`K` and `k` have OpenSSL renew its keys, and ask for new ones of the relay's."""
    child = start("s_client", "sh", "-c",
                  "(echo K; sleep 0.3; echo k; sleep 0.3; printf 'GET /healthz HTTP/1.1\\r\\nHost: r\\r\\n\\r\\n'; sleep 0.5; "
                  f"echo K; sleep 0.3; echo Q) | openssl s_client -connect 127.0.0.1:{port} -tls1_3")
    child.wait_for("HTTP/1.1 200 OK")
    assert child.said().count("KEYUPDATE") >= 2, child.said()


def tunnel(url, ca):
    child = start("tunnel", ringback(), "tunnel", "--relay", url, "--ca", ca, "--domain", "plain", "--listen", "127.0.0.1:0")
    address = child.wait_for(r"127\.0\.0\.1:\d+")[0]
    assert run("curl", "-sS", f"http://{address}/file").stdout == FILE


def python(port, ca):
    """Many requests on one connection, and a half-close by TLS alone."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(socket.create_connection(("localhost", port)), server_hostname="localhost") as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        stream = connection.makefile("rwb")
        for _ in range(200):
            stream.write(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
            stream.flush()
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            while stream.readline() != b"\r\n":
                pass
            assert stream.read(3) == b"ok\n", "the answer's end"


def strangers(url, relay, other):
    child = start("gateway-stranger", ringback(), "gateway", "--relay", url, "--ca", other, "--domain", "stranger",
                  "--target", "127.0.0.1:1")
    said = child.wait_for("cannot connect to the relay.*")[0]
    assert "certificate" in said, said
    child.end()
    assert relay.counted("registered") == 0


def test():
    need("curl")
    (ca, key), (other, _) = certificate("relay"), certificate("other")
    relay = Relay("--listen-tls", "127.0.0.1:0", "--cert", ca, "--key", key)
    port = int(relay.child.wait_for(r"by TLS at 127\.0\.0\.1:(\d+)")[1])
    url = f"https://localhost:{port}"
    strangers(url, relay, other)
    gateway(url, ca, "plain", f"127.0.0.1:{target()}")
    gateway(url, ca, "secure", f"https://localhost:{target((ca, key))}")
    curls(url, ca, other)
    openssl(port)
    new_keys(port)
    tunnel(url, ca)
    python(port, ca)
    eventually("no handshake is left", lambda: relay.counted("handshakes") == 0)
    relay.end()


main(test, 120)
