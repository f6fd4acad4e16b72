"""Where the week happens: a network with the relay and its clients, one with the gateways, a router between the two
that can forget connections, and a small disk for the relay's log. All of it goes when this process goes, however that
is."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time

from .. import machine

NEW_NETWORK, NEW_MOUNTS = 0x4000_0000, 0x0002_0000
RELAY_HOST, RELAY_PORT = "10.77.1.1", 8080
# The gateways connect from these ports, one part of them until the router forgets their connections, then the next.
PORTS, PORTS_END = 20_000, 60_000
PARTS = 20
EVERYTHING = ["pref", "5", "blackhole"]
DISK_BYTES = 64 << 20
READY_SECONDS = 30
END_SECONDS = 10


class Failed(Exception):
    """Something that the week needs does not work."""


def wait_for(what, condition, seconds=READY_SECONDS, every=0.05):
    """Waits until the condition holds, and returns what it returned."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > until:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(every)
    return found


class Program:
    """A process of ours with its descendants, in a session of its own so that Ctrl-C is for us to pass on. It does not
    outlive us either way. Its log has what it writes to standard output and, unless that goes elsewhere, to standard
    error."""

    def __init__(self, world, name, command, among_gateways=False, **options):
        self.name = name
        self.log = world.logs / f"{len(list(world.logs.iterdir())):03}-{name.replace(' ', '-')}.log"
        with self.log.open("wb") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options}
            words = [*world.mortal, *(world.to_gateways if among_gateways else []), *command]
            self.process = subprocess.Popen([str(word) for word in words], start_new_session=True, **options)
        # Set before we end it, so that nobody takes that for a fault.
        self.may_end = False

    def said(self):
        return self.log.read_text(errors="replace")

    def wait_line(self, pattern, seconds=READY_SECONDS):
        """Waits until it has written a line with the pattern; returns the match."""
        def found():
            match = pattern.search(self.said())
            if not match and self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}: {self.said()[-2000:]}")
            return match
        return wait_for(f"{self.name} says {pattern.pattern}", found, seconds)

    def is_running(self):
        return self.process.poll() is None

    def signal(self, which):
        if self.is_running():
            self.process.send_signal(which)

    def kill(self):
        """Ends it and its descendants at once."""
        self.may_end = True
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def end(self, seconds=END_SECONDS):
        """Has it end by SIGTERM; returns its exit code, None if it had to be killed."""
        self.may_end = True
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()


class World:
    """The networks and the disk; without the right to have them, the machine's own loopback and no disk."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.logs = folder / "logs"
        self.logs.mkdir()
        # Whoever kills us with SIGKILL leaves nothing running.
        self.mortal = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self.to_gateways, self.router = [], None
        self.host, self.port = "127.0.0.1", None
        self.disk = None
        self.skipped = {}
        self.part = 0
        self.attempt("a network of its own", self.build_network)
        self.attempt("a disk of its own", self.mount_disk)
        stack.callback(self.leave_only_logs)
        self.port = self.port or machine.free_port()
        self.address = f"{self.host}:{self.port}"

    def attempt(self, what, build):
        try:
            build()
        except (Failed, OSError, subprocess.CalledProcessError) as why:
            self.skipped[what] = str(why)

    def build_network(self):
        need_root_and("ip", "unshare", "nsenter")
        unshare(NEW_NETWORK)
        gateways, router = self.network("gateways"), self.network("router")
        self.router = ["nsenter", "-t", router, "-n"]
        self.to_gateways = ["nsenter", "-t", gateways, "-n"]
        run("ip", "link", "set", "lo", "up")
        run(*self.to_gateways, "ip", "link", "set", "lo", "up")
        self.link([], RELAY_HOST, router, "10.77.1.2")
        self.link(self.router, "10.77.2.2", gateways, "10.77.2.1")
        run(*self.router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        run("ip", "route", "add", "10.77.2.0/24", "via", "10.77.1.2")
        run(*self.to_gateways, "ip", "route", "add", "default", "via", "10.77.2.2")
        self.use_ports()
        self.host, self.port = RELAY_HOST, RELAY_PORT

    def network(self, name):
        """A process that holds a network; gives its id."""
        holder = Program(self, f"network of the {name}", ["unshare", "-n", "sleep", "infinity"])
        self.stack.callback(holder.kill)
        ours = os.stat("/proc/thread-self/ns/net").st_ino
        wait_for("a network", lambda: os.stat(f"/proc/{holder.process.pid}/ns/net").st_ino != ours)
        return holder.process.pid

    @staticmethod
    def link(here, address, there, other):
        """A cable from one network to another."""
        near, far = f"to-{there}", "from-there"
        run(*here, "ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", there)
        inside = ["nsenter", "-t", there, "-n"]
        for where, name, ip in ((here, near, address), (inside, far, other)):
            run(*where, "ip", "address", "add", f"{ip}/24", "dev", name)
            run(*where, "ip", "link", "set", name, "up")

    def ports(self, part):
        size = (PORTS_END - PORTS) // PARTS
        return PORTS + part * size, PORTS + (part + 1) * size - 1

    def use_ports(self):
        """Gateways connect from the present part of the ports from now on."""
        first, last = self.ports(self.part)
        run(*self.to_gateways, "sh", "-c", f"echo {first} {last} > /proc/sys/net/ipv4/ip_local_port_range")

    def forget_connections(self):
        """What a NAT does that has lost its table: it drops without a word whatever belongs to the present connections,
        both ways, for good. New ones pass."""
        first, last = self.ports(self.part)
        self.part = (self.part + 1) % PARTS
        for rule in self.rules(*self.ports(self.part)):
            # There is none yet in the first round through the ports.
            subprocess.run([*map(str, self.router), "ip", "rule", "del", *rule], stderr=subprocess.DEVNULL)
        self.use_ports()
        for rule in self.rules(first, last):
            run(*self.router, "ip", "rule", "add", *rule)

    @contextlib.contextmanager
    def cut(self):
        """Nothing passes between gateways and relay, and nobody is told."""
        run(*self.router, "ip", "rule", "add", *EVERYTHING)
        try:
            yield
        finally:
            run(*self.router, "ip", "rule", "del", *EVERYTHING)

    @staticmethod
    def rules(first, last):
        return [["pref", "10", "ipproto", "tcp", which, f"{first}-{last}", "blackhole"] for which in ("sport", "dport")]

    def mount_disk(self):
        need_root_and("mount", "umount")
        unshare(NEW_MOUNTS)
        run("mount", "--make-rprivate", "/")
        disk = self.folder / "disk"
        disk.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", disk)
        self.disk = disk

        def unmount():
            run("umount", "--lazy", disk)
            disk.rmdir()
        self.stack.callback(unmount)

    def leave_only_logs(self):
        """What somebody may want to look at stays until the folder goes."""
        for log in (self.disk or self.folder).glob("relay-*.log"):
            shutil.move(log, self.logs / log.name)
        for path in self.folder.iterdir():
            if path.is_dir() and path not in (self.logs, self.disk):
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_file():
                path.unlink()

    def fill_disk(self):
        """Fills the disk to the last byte; gives the file that does."""
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 16)):
                    pass
            except OSError:
                return filler

    def listens(self):
        """Whether anybody listens on the relay's port. Asks the kernel: a connection would be a client."""
        with open("/proc/thread-self/net/tcp", encoding="ascii") as table:
            return any(f":{self.port:04X} 00000000:0000 0A" in line for line in table)


def need_root_and(*programs):
    if os.geteuid() != 0:
        raise Failed("only root can have it")
    for program in programs:
        if not shutil.which(program):
            raise Failed(f"{program} is not installed")


def unshare(what):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run(*command):
    return machine.run(*command, stderr=subprocess.STDOUT)
