"""Processes on this machine: started pinned, watched to the nanosecond, ended by their own id."""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("RINGBACK_BENCH_CACHE", Path.home() / ".cache/ringback-bench"))
# The relay under test has this CPU to itself; gateways, origins and clients share the other.
RELAY_CPU = 0
REST_CPU = 1
# Below the range of local ports, so that no connection sits on one that is to be listened on.
PORTS = (12_000, 32_000)


def say(*words):
    """Progress goes to standard error."""
    print(*words, file=sys.stderr, flush=True)


def run(*command, **options):
    """Runs a command to its end and gives its standard output."""
    done = subprocess.run([str(word) for word in command], check=True, text=True,
                          stdout=subprocess.PIPE, **options)
    return done.stdout


def apt(program, package):
    """Installs a Debian package if its program is missing."""
    if not shutil.which(program):
        say(f"installing {package}")
        run("apt-get", "update", "-q")
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", package)
    return program


def cargo_install(program, crate, version, *features):
    """Installs a crate's program into the cache if it is missing, and gives its path.

    What its author locked may no longer build with today's compiler: then with fewer features, then with
    today's dependencies.
    """
    path = CACHE / "bin" / program
    if path.exists():
        return path
    base = ["cargo", "install", crate, "--version", version, "--root", str(CACHE)]
    fewer = ["--no-default-features", "--features", ",".join(features)] if features else []
    for options in (["--locked"], ["--locked", *fewer], fewer):
        say("building", " ".join(base[2:5] + options))
        if subprocess.run(base + options).returncode == 0:
            return path
    raise SystemExit(f"{crate} {version} cannot be built")


def own_network(congestion_control):
    """Puts this process, and what it starts from now on, into a network of its own: only loopback, no neighbours'
    connections, and a congestion control that does not depend on how this machine is set up. What has to be fetched
    must be there before. Without the right to do so everything stays in the machine's network, as it is."""
    apt("ip", "iproute2")
    libc = ctypes.CDLL(None, use_errno=True)
    # Other networks than the machine's own may choose only from what is allowed, and the machine's alone can allow it.
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    before = allowed.read_text()
    with allowed.open("w") as allow:
        if libc.unshare(0x4000_0000) != 0:  # CLONE_NEWNET
            say(f"no network of its own: {os.strerror(ctypes.get_errno())}")
            return
        run("ip", "link", "set", "lo", "up")
        print(before.strip(), congestion_control, file=allow, flush=True)
        Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(congestion_control)
        allow.seek(0)
        print(before.strip(), file=allow)
    own_network.made = True
    # As in the machine's network: a storm must not be cut short by the queue.
    Path("/proc/sys/net/core/somaxconn").write_text("4096")


own_network.made = False


@contextlib.contextmanager
def packets(size):
    """Loopback with packets of this size, each on its own as a network brings them, for as long as it lasts; only ever in a
    network of our own. Without the second, a paced sender's packets arrive ten at a time: the round trip is so short."""
    if not own_network.made:
        raise RuntimeError("no network of its own to change the MTU of")
    before = json.loads(run("ip", "-j", "-d", "link", "show", "lo"))[0]
    run("ip", "link", "set", "lo", "mtu", size, "gso_max_segs", 1)
    try:
        yield
    finally:
        run("ip", "link", "set", "lo", "mtu", before["mtu"], "gso_max_segs", before["gso_max_segs"])


def fresh_net():
    """N of a loopback network 127.0.N.0 that nobody has dialled from for minutes: ports that wait out the end of their
    last connection (TIME-WAIT) make looking for a free one take milliseconds each."""
    fresh_net.last = fresh_net.last % 250 + 1
    return fresh_net.last


fresh_net.last = 0


def congestion_control():
    """What this process's network uses."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def target_dir():
    """Where cargo puts what it builds."""
    metadata = run("cargo", "metadata", "--format-version", "1", "--no-deps", cwd=ROOT)
    return Path(json.loads(metadata)["target_directory"])


def build():
    """Builds the relay and the load generator; RINGBACK_BIN and LOADTEST_BIN name ready ones instead."""
    ringback, loadtest = os.environ.get("RINGBACK_BIN"), os.environ.get("LOADTEST_BIN")
    if not (ringback and loadtest):
        run("cargo", "build", "--release", "--workspace", cwd=ROOT)
    release = target_dir() / "release"
    return Path(ringback or release / "ringback"), Path(loadtest or release / "ringback-loadtest")


def free_port():
    """A port nobody has listened on lately: a killed ring's listener lingers, so none is used twice."""
    while True:
        free_port.next = PORTS[0] + (free_port.next - PORTS[0] + 1) % (PORTS[1] - PORTS[0])
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", free_port.next))
                return free_port.next
            except OSError:
                continue


free_port.next = PORTS[0] + (os.getpid() * 97) % (PORTS[1] - PORTS[0])


class Program:
    """A process of ours, pinned to one CPU or to a list of them."""

    def __init__(self, command, cpus=REST_CPU, stdin=None, stdout=None, env=None, nice=0):
        cpus = {cpus} if isinstance(cpus, int) else set(cpus)
        self.command = [str(word) for word in command]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command, stdin=stdin, stdout=stdout or self.log, stderr=self.log, text=True,
            env=dict(os.environ, **(env or {})),
            preexec_fn=lambda: (os.sched_setaffinity(0, cpus), os.nice(nice)))

    @property
    def pid(self):
        return self.process.pid

    def wait_port(self, port, seconds=10):
        """Waits until the process listens."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command} has ended:\n{self.output()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.02)
        raise RuntimeError(f"{self.command} does not listen on {port}:\n{self.output()}")

    def wait_line(self, start, seconds=60):
        """The first line of standard output that starts so (the process was given a pipe)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            line = self.process.stdout.readline()
            if line.startswith(start):
                return line.strip()
            if not line:
                break
        raise RuntimeError(f"{self.command} has not said {start!r}:\n{self.output()}")

    def output(self, last=2000):
        """The last characters of what it has written; all of them for None."""
        # Not through our own descriptor's position, which is the process's, too.
        text = os.pread(self.log.fileno(), 1 << 24, 0).decode(errors="replace")
        return text if last is None else text[-last:]

    def stop(self):
        """Ends the process and waits until its sockets are gone."""
        if self.log.closed:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def cpu_ns(pid):
    """CPU the process's living threads have used, in nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return total


def rss(pid):
    """Resident set in bytes."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match.group(1)) * 1024 if match else 0


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


# What sockets and those who wait for them are made of. File systems' caches and sockets in TIME_WAIT come and go
# with other things.
SOCKET_CACHES = ("TCP", "TCPv6", "sock_inode_cache", "filp", "dentry", "lsm_inode_cache", "lsm_file_cache",
                 "eventpoll_epi", "eventpoll_pwq", "io_kiocb", "request_sock_TCP", "skbuff_head_cache")


def slab():
    """Bytes of kernel objects in use for sockets and waiting, by cache.

    Looking through /proc leaves a name and an inode behind for each open file of each process, with one entry of
    `dentry` and `lsm_inode_cache` each; those are not the relay's and are taken off. So is what control groups account
    for names and inodes with: an entry of kmalloc-192 for each 21 of the one and each 23 of the other.
    """
    objects = {}
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        name, active, _, size = line.split()[:4]
        objects[name] = int(active), int(size)
    looked_up = objects["proc_inode_cache"][0]
    foreign = {"dentry": looked_up, "lsm_inode_cache": looked_up, "kmalloc-192": looked_up / 21 + looked_up / 23}
    return {name: (active - foreign.get(name, 0)) * size
            for name, (active, size) in objects.items() if name in SOCKET_CACHES or name.startswith("kmalloc")}


def versions(ringback):
    """Who is compared, and on what."""
    def first(*command):
        done = subprocess.run([str(word) for word in command], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return next((line for line in done.stdout.splitlines() if line.strip()), "").strip()

    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = first("git", "-C", ROOT, "rev-parse", "--short", "HEAD")
    return {
        "ringback": f"{first(ringback, '--version')} ({commit})",
        "nginx": first("nginx", "-v").removeprefix("nginx version: "),
        "HAProxy": first("haproxy", "-v").split(" - ")[0].removeprefix("HAProxy version "),
        "rathole": "0.5.0",
        "wrk": " ".join(first("wrk", "-v").split()[:2]),
        "kernel": first("uname", "-r"),
        "CPU": f"{cpu.group(1) if cpu else 'unknown'}, {os.cpu_count()} of them",
    }
