"""Who is compared: each with the relay's process on one CPU and its backends on the other."""

import contextlib
import shlex
import os
import tempfile
import urllib.request
from pathlib import Path

from . import machine
from .machine import REST_CPU, RELAY_CPU, Program, free_port

OPEN_FILES = 19_900
# Seconds that a gateway program has until the first request through it is answered.
BEGINNING = 10
# Whom those that connect to their backends have there.
ORIGIN = "an origin that answers from memory"
# Domains of their own for bulk beside small requests; those with a configuration send them to an origin of its own.
SMALL_DOMAINS, BULK_DOMAINS = 32, 4
BULK_PATHS = [f"/d{SMALL_DOMAINS + n}/" for n in range(BULK_DOMAINS)]


class Setup:
    """A relay that is running: where clients connect to, whose CPU counts, and the program before the server if any."""

    def __init__(self, target, program, gateway=None):
        self.target = target
        # How it is spoken to.
        self.scheme = "http"
        self.program = program
        self.pid = program.pid
        self.gateway_pid = gateway.pid if gateway else None


def paced(pace):
    """What makes those that answer keep to so many bytes a second on each connection."""
    return ["--pace", pace] if pace else []


class Bench:
    """The two programs of this repository, and how the relay is started beyond the defaults."""

    def __init__(self):
        self.ringback, self.loadtest = machine.build()
        # The relay under test; an older build, in a comparison with one.
        self.relay_program = self.ringback
        self.relay_args = shlex.split(os.environ.get("RINGBACK_RELAY_ARGS", ""))

    def origin(self, stack, cpus=REST_CPU, nice=0, pace=None):
        """A plain server with the fleet's answers; gives its port."""
        port = free_port()
        program = Program([self.loadtest, "origin", "--listen", f"127.0.0.1:{port}", *paced(pace)], cpus, nice=nice)
        stack.callback(program.stop)
        program.wait_port(port)
        return port

    def relay(self, stack, cpus=RELAY_CPU):
        """Our relay, one shard for each of `cpus`."""
        cores = [cpus] if isinstance(cpus, int) else list(cpus)
        port = free_port()
        command = [self.relay_program, "relay", "--listen", f"127.0.0.1:{port}",
                   "--cores", ",".join(map(str, cores)) if len(cores) > 1 else f"{cores[0]}-{cores[0]}",
                   *self.relay_args]
        # Not pinned from outside: the relay pins its own shards.
        program = Program(command, range(os.cpu_count()), env={"RUST_LOG": "warn"})
        stack.callback(program.stop)
        program.wait_port(port)
        return Setup(f"127.0.0.1:{port}", program)

    def fleet(self, stack, relay, dialect="ptth", gateways=10, domains=None, offset=0, cpus=REST_CPU,
              seconds=120, nice=0, pace=None):
        """Gateways, all registered when this returns."""
        command = [self.loadtest, "fleet", "--relay", relay, "--dialect", dialect,
                   "--gateways", gateways, "--domains", domains or gateways,
                   "--domain-offset", offset, "--processes", -(-gateways // 6_000), *paced(pace)]
        if gateways > 1_000:
            command += ["--source-net", machine.fresh_net()]
        pipe = machine.subprocess.PIPE
        program = Program(command, cpus, stdin=pipe, stdout=pipe, nice=nice)
        stack.callback(program.stop)
        program.ready = program.wait_line("ready", seconds)
        return program


    def gateway(self, stack, relay, origin, connections, dialect, cpus=REST_CPU):
        """The gateway program in front of an origin, ready when this returns; of the same build as the relay."""
        command = [self.relay_program, "gateway", "--relay", f"http://{relay}", "--domain", "d0",
                   "--target", f"127.0.0.1:{origin}", "--dialect", dialect,
                   "--connections", connections, "--max-connections", connections]
        program = Program(command, cpus, env={"RUST_LOG": "warn"})
        stack.callback(program.stop)
        end = machine.time.monotonic() + BEGINNING
        while not answers(relay):
            if program.process.poll() is not None or machine.time.monotonic() > end:
                raise RuntimeError(f"{program.command} does not answer:\n{program.output()}")
            machine.time.sleep(0.1)
        # One has been answered; the others are as near.
        machine.time.sleep(0.5)
        return program


def answers(relay):
    """Whether a request through the relay comes back with 200."""
    try:
        with urllib.request.urlopen(f"http://{relay}/d0/x", timeout=BEGINNING) as answer:
            return answer.status == 200
    except OSError:
        return False


class Ringback:
    """Our relay and a fleet."""

    far = "a fleet of gateways that answers from memory"

    def __init__(self, dialect, program=None):
        self.dialect = dialect
        # Another build of it, if not the one of this checkout.
        self.program = program
        self.label = f"{f'other {program.name}' if program else 'ringback'}, {dialect}"

    def against(self, program):
        """The same with another build."""
        return type(self)(self.dialect, program)

    @contextlib.contextmanager
    def running(self, bench, gateways=64, domains=None, cpus=RELAY_CPU, rest=REST_CPU, bulk=0, nice=0, pace=None,
                **_):
        with contextlib.ExitStack() as stack:
            setup = bench.relay(stack, cpus)
            bench.fleet(stack, setup.target, self.dialect, gateways, domains, cpus=rest, nice=nice, pace=pace)
            if bulk:
                bench.fleet(stack, setup.target, self.dialect, bulk, offset=domains or gateways, cpus=rest)
            yield setup


class RingbackGateway(Ringback):
    """Our relay and our gateway program, in front of an origin."""

    far = "`ringback gateway` of the same build, in front of an origin that answers from memory"

    def __init__(self, dialect, program=None):
        super().__init__(dialect, program)
        self.label += ", gateway program"

    @contextlib.contextmanager
    def running(self, bench, gateways=64, **_):
        with contextlib.ExitStack() as stack:
            origin, setup = bench.origin(stack), bench.relay(stack)
            gateway = bench.gateway(stack, setup.target, origin, gateways, self.dialect)
            yield Setup(setup.target, setup.program, gateway)


class Pipe:
    """The bare pipe: the floor."""

    far = ORIGIN

    def __init__(self, splice=False):
        self.splice = splice
        self.label = "bare pipe, splice" if splice else "bare pipe"

    @contextlib.contextmanager
    def running(self, bench, pace=None, **_):
        with contextlib.ExitStack() as stack:
            origin = bench.origin(stack, pace=pace)
            port = free_port()
            command = [bench.loadtest, "pipe", "--listen", f"127.0.0.1:{port}",
                       "--to", f"127.0.0.1:{origin}"]
            program = Program(command + ["--splice"] * self.splice, RELAY_CPU)
            stack.callback(program.stop)
            program.wait_port(port)
            yield Setup(f"127.0.0.1:{port}", program)


class Configured:
    """A program that reads a configuration file and connects to an origin."""

    far = ORIGIN
    # Transfers at a time that it has to have room for.
    connections = 0

    @contextlib.contextmanager
    def running(self, bench, **options):
        with contextlib.ExitStack() as stack:
            self.install()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self.connections = options.get("connections", 0)
            origin = bench.origin(stack, nice=options.get("nice", 0), pace=options.get("pace"))
            port = free_port()
            bulk = bench.origin(stack) if options.get("bulk") else origin
            config = folder / "config"
            config.write_text(self.config(port, origin, bulk, folder, options.get("tunnel", False)))
            program = Program(self.command(config, folder), RELAY_CPU)
            stack.callback(program.stop)
            program.wait_port(port)
            yield Setup(f"127.0.0.1:{port}", program)


class Nginx(Configured):
    """nginx as a reverse proxy that keeps its connections to the origin."""

    label = "nginx"

    def install(self):
        machine.apt("nginx", "nginx-light")

    def command(self, config, folder):
        return ["nginx", "-p", folder, "-c", config]

    def config(self, port, origin, bulk, folder, tunnel):
        apart = "".join(f"location {path} {{ proxy_pass http://bulk; }} " for path in BULK_PATHS if bulk != origin)
        return f"""
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log /dev/null crit;
worker_rlimit_nofile {OPEN_FILES};
events {{ worker_connections {OPEN_FILES}; multi_accept on; }}
http {{
  access_log off; server_tokens off; tcp_nodelay on; reset_timedout_connection off;
  keepalive_timeout 1h; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream origin {{ server 127.0.0.1:{origin}; keepalive {max(512, self.connections)}; keepalive_requests 1000000000;
                     keepalive_timeout 1h; }}
  upstream bulk {{ server 127.0.0.1:{bulk}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
  proxy_request_buffering off; proxy_max_temp_file_size 0;
  proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://origin; }}
    {apart}
  }}
}}
"""


class HAProxy(Configured):
    """HAProxy in HTTP mode; for tunnels, which its HTTP mode does not carry by path, in TCP mode."""

    def __init__(self, splice=False, pipe_bytes=None):
        self.splice = splice
        self.pipe_bytes = pipe_bytes
        self.label = "HAProxy" + ", splice" * splice + (f", {pipe_bytes >> 20} MiB pipes" if pipe_bytes else "")

    def install(self):
        machine.apt("haproxy", "haproxy")

    def command(self, config, folder):
        return ["haproxy", "-db", "-f", config]

    def config(self, port, origin, bulk, folder, tunnel):
        splice = "option splice-request\n  option splice-response" if self.splice else ""
        apart = "" if bulk == origin else f"use_backend bulk if {{ path_beg {' '.join(BULK_PATHS)} }}"
        # Those that are spliced at a time have one each way. Pipes and connections share the open files, two each.
        pipes = max(200, 2 * self.connections)
        http = "" if tunnel else "option http-keep-alive\n  http-reuse always\n  option forwardfor"
        return f"""
global
  nbthread 1
  maxconn {OPEN_FILES // 2 - 250 - pipes}
  maxpipes {pipes}
  {f"tune.pipesize {self.pipe_bytes}" if self.pipe_bytes else ""}
defaults
  mode {"tcp" if tunnel else "http"}
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  {splice}
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  {apart}
  default_backend origin
backend origin
  {http}
  server origin 127.0.0.1:{origin} {"" if tunnel else "pool-max-conn -1"}
backend bulk
  {http}
  server bulk 127.0.0.1:{bulk} {"" if tunnel else "pool-max-conn -1"}
"""


class Rathole(Configured):
    """rathole: its server is the relay, its client runs beside the origin."""

    label = "rathole"
    far = f"rathole's client, in front of {ORIGIN}"

    def install(self):
        self.program = machine.cargo_install("rathole", "rathole", "0.5.0", "server", "client")

    def config(self, port):
        return f"""
[server]
bind_addr = "127.0.0.1:{self.control}"
default_token = "bench"
[server.services.http]
bind_addr = "127.0.0.1:{port}"
"""

    def command(self, config, folder):
        return [self.program, "--server", config]

    @contextlib.contextmanager
    def running(self, bench, pace=None, **_):
        with contextlib.ExitStack() as stack:
            self.install()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            origin, port, self.control = bench.origin(stack, pace=pace), free_port(), free_port()
            (folder / "server.toml").write_text(self.config(port))
            (folder / "client.toml").write_text(f"""
[client]
remote_addr = "127.0.0.1:{self.control}"
default_token = "bench"
[client.services.http]
local_addr = "127.0.0.1:{origin}"
""")
            # Both start as many worker threads as they see CPUs: one each.
            quiet = {"RUST_LOG": "error"}
            server = Program(self.command(folder / "server.toml", folder), RELAY_CPU, env=quiet)
            stack.callback(server.stop)
            server.wait_port(self.control)
            client = Program([self.program, "--client", folder / "client.toml"], REST_CPU, env=quiet)
            stack.callback(client.stop)
            server.wait_port(port)
            machine.time.sleep(0.5)
            yield Setup(f"127.0.0.1:{port}", server, client)


def install():
    """Fetches all that is compared, and what measures it."""
    machine.apt("wrk", "wrk")
    for contender in NGINX, HAPROXY, RATHOLE:
        contender.install()


PTTH, CLASSIC = Ringback("ptth"), Ringback("classic")
WITH_GATEWAY = RingbackGateway("ptth")
PIPE, PIPE_SPLICE = Pipe(), Pipe(splice=True)
NGINX, HAPROXY, RATHOLE = Nginx(), HAProxy(), Rathole()
HAPROXY_SPLICE, HAPROXY_TUNED = HAProxy(splice=True), HAProxy(splice=True, pipe_bytes=1 << 20)
