"""Workloads over TLS from the client to the relay: small requests and new connections. Everybody has the same
certificate (ECDSA P-256) and takes the versions and suites that it likes; wrk and openssl choose."""

import contextlib
import re
import tempfile
from pathlib import Path

from . import contenders as who
from . import machine
from .cells import Failed, wrk
from .machine import RELAY_CPU, Program, cpu_ns, free_port

CONNECTIONS = 64


def certificate():
    """Makes a certificate once; gives the paths of it, of its key, and of both in one file."""
    if not certificate.folder:
        certificate.folder = tempfile.TemporaryDirectory()
        folder = Path(certificate.folder.name)
        machine.run(machine.apt("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", folder / "crt", "-keyout", folder / "key",
                    stderr=machine.subprocess.DEVNULL)
        (folder / "both").write_text((folder / "crt").read_text() + (folder / "key").read_text())
    folder = Path(certificate.folder.name)
    return folder / "crt", folder / "key", folder / "both"


certificate.folder = None


class Ringback(who.Ringback):
    """Our relay with a listener for TLS; its gateways are plain, on the same machine."""

    def __init__(self, secure, program=None):
        super().__init__("ptth", program)
        self.secure = secure
        self.label += ", TLS" if secure else ", no TLS"

    def against(self, program):
        return type(self)(self.secure, program)

    @contextlib.contextmanager
    def running(self, bench, gateways=64, domains=None, **_):
        with contextlib.ExitStack() as stack:
            crt, key, _ = certificate()
            plain, secure = free_port(), free_port()
            command = [bench.relay_program, "relay", "--listen", f"127.0.0.1:{plain}", "--listen-tls", f"127.0.0.1:{secure}",
                       "--cert", crt, "--key", key, "--cores", f"{RELAY_CPU}-{RELAY_CPU}", *bench.relay_args]
            program = Program(command, range(machine.os.cpu_count()), env={"RUST_LOG": "warn"})
            stack.callback(program.stop)
            program.wait_port(plain)
            bench.fleet(stack, f"127.0.0.1:{plain}", self.dialect, gateways, domains)
            setup = who.Setup(f"127.0.0.1:{secure if self.secure else plain}", program)
            setup.scheme = "https" if self.secure else "http"
            yield setup


class Secure:
    """One that reads a configuration, with TLS for its clients."""

    @contextlib.contextmanager
    def running(self, bench, **options):
        with super().running(bench, **dict(options, connections=CONNECTIONS)) as setup:
            setup.scheme = "https"
            yield setup


class Nginx(Secure, who.Nginx):
    label = "nginx, TLS"

    def config(self, port, *rest):
        crt, key, _ = certificate()
        listen = f"listen 127.0.0.1:{port} backlog=4096"
        tls = f"ssl_certificate {crt}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
        return super().config(port, *rest).replace(f"{listen};", f"{listen} ssl; {tls}")


class HAProxy(Secure, who.HAProxy):
    def __init__(self):
        super().__init__()
        self.label = "HAProxy, TLS"

    def config(self, port, *rest):
        bind = f"bind 127.0.0.1:{port} backlog 4096"
        return super().config(port, *rest).replace(bind, f"{bind} ssl crt {certificate()[2]}")


PLAIN, TLS, NGINX, HAPROXY = Ringback(False), Ringback(True), Nginx(), HAProxy()


def small(bench, contender, seconds):
    """Small requests on kept connections, by wrk."""
    with contender.running(bench, gateways=CONNECTIONS + 16, domains=1) as setup:
        return wrk(setup, CONNECTIONS, seconds)


def new(reused):
    """New connections one after the other, by openssl, with a request each: TLS 1.3 brings its tickets with the response."""
    def measure(bench, contender, seconds):
        with contender.running(bench, gateways=4, domains=1) as setup:
            before = cpu_ns(setup.pid)
            program = Program(["openssl", "s_time", "-connect", setup.target, "-reuse" if reused else "-new", "-www", "/d0/x",
                               "-time", seconds])
            program.process.wait(seconds + 30)
            cpu = cpu_ns(setup.pid) - before
            found = re.search(r"(\d+) connections in \d+ real seconds", program.output())
            if not found or not int(found.group(1)):
                raise Failed(program.output())
            return {"us_per_connection": cpu / 1e3 / int(found.group(1)), "errors": 0}
    return measure


WORKLOADS = {
    "tls": {
        "tls-small": (f"Small requests over TLS, {CONNECTIONS} connections", small, (TLS, PLAIN, NGINX, HAPROXY)),
        "tls-new": ("A new TLS connection for each request, full handshake", new(False), (TLS, NGINX, HAPROXY)),
        "tls-resumed": ("A new TLS connection for each request, resumed", new(True), (TLS, NGINX, HAPROXY)),
    },
}
