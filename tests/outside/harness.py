"""What the tests with third-party programs share.

A test is one file with a function that raises when something is wrong and prints what it saw when all is well. It
starts its programs through `start`, on free ports, and only those are ended when it is over, by their ids. Exit code:
0 passed, 77 skipped (the last line says why), anything else failed.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CI = os.environ.get("CI") == "true"
# Where npm put its packages; scripts/test says.
NODE_MODULES = os.environ.get("RINGBACK_NODE_MODULES", os.path.join(ROOT, "target", "outside", "node_modules"))
# How long a program may take to be ready, and how long to end.
READY_SECONDS = 20
# The state of a listening socket in /proc/net/tcp.
LISTENS = "0A"

children = []
directory = None


class Skip(Exception):
    """The test cannot run here; the message says why."""


class Child:
    """A program of the test's own."""

    def __init__(self, name, argv, **options):
        self.name = name
        self.log = os.path.join(directory, f"{len(children)}-{name}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **options)
        children.append(self)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_for(self, pattern):
        """Waits until the program has said something; returns the match."""
        until = time.monotonic() + READY_SECONDS
        while True:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.said())
            if found:
                return found
            if ended:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}: {self.said()}")
            if time.monotonic() > until:
                raise AssertionError(f"{self.name} has not said {pattern!r} but: {self.said()}")
            time.sleep(0.02)

    def cpu_ticks(self):
        """How much processor time the program has used, all its threads together, in ticks of the kernel's clock."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def end(self, how=signal.SIGTERM):
        """Ends the program; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def start(name, *argv, **options):
    return Child(name, [str(word) for word in argv], **options)


def ringback():
    path = os.environ.get("RINGBACK") or os.path.join(ROOT, "target", "ci", "ringback")
    if not os.path.exists(path):
        raise AssertionError(f"there is no {path}: run scripts/test, or name the program in RINGBACK")
    return path


def cores(wanted):
    """As many cores as there are, up to `wanted`."""
    return min(wanted, len(os.sched_getaffinity(0)))


class Relay:
    """A relay on a free port, or on the given one."""

    def __init__(self, *options, port=0):
        self.child = start("relay", ringback(), "relay", "--listen", f"127.0.0.1:{port}", *options)
        self.port = int(self.child.wait_for(r"listens on 127\.0\.0\.1:(\d+)")[1])
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"

    def connections(self):
        """How many sockets the relay has open that neither listen nor are its own (signals come through a pair)."""
        folder = f"/proc/{self.child.process.pid}/fd"
        sockets = set()
        for name in os.listdir(folder):
            try:
                sockets.update(re.findall(r"^socket:\[(\d+)\]", os.readlink(os.path.join(folder, name))))
            except FileNotFoundError:
                pass
        assert sockets, "the relay has no socket, not even one that listens"
        return len(sockets - kept_sockets())

    def counted(self, counter):
        """What the relay has counted so far, of what its report counts."""
        reports = rf"total: .* {counter}=(\d+)"
        before = len(re.findall(reports, self.child.said()))
        self.child.process.send_signal(signal.SIGUSR1)
        eventually("the relay reports", lambda: len(re.findall(reports, self.child.said())) > before)
        return int(re.findall(reports, self.child.said())[-1])

    def gateway(self, domain, target, *options):
        """A gateway that is connected."""
        child = start(f"gateway-{domain}", ringback(), "gateway", "--relay", self.url, "--domain", domain,
                      "--target", target, *options)
        child.wait_for("connected to the relay")
        return child

    def end(self):
        """Stops the relay as an operator would when all others have gone: nothing of theirs may be left open by then,
        and it ends well and at once."""
        for child in list(children):
            if child is not self.child:
                child.end()
        # Clients that are gone may still be waited for: --linger, --client-wait.
        eventually("all connections are closed", lambda: self.connections() == 0, 15)
        began = time.monotonic()
        code = self.child.end()
        assert code == 0, f"the relay ended with {code}: {self.child.said()}"
        assert time.monotonic() - began < 3, f"it took the relay {time.monotonic() - began:.1f} s to end"


def kept_sockets():
    """The inodes of this machine's sockets that listen or are no internet sockets."""
    inodes = set()
    # A socket without an address any more, as one that was reset, is in neither table.
    for table, field in (("tcp", 9), ("tcp6", 9), ("unix", 6)):
        with open(f"/proc/net/{table}", encoding="utf-8") as lines:
            rows = [line.split() for line in list(lines)[1:]]
        inodes.update(row[field] for row in rows if table == "unix" or row[3] == LISTENS)
    return inodes


def service():
    """An ordinary web server (tests/outside/service.js); returns its host:port."""
    child = start("service", need("node"), os.path.join(HERE, "service.js"))
    return child.wait_for(r"listening at (\S+)")[1]


def certificate(name):
    """A certificate for this machine, and its key."""
    paths = [os.path.join(directory, f"{name}.{kind}") for kind in ("crt", "key")]
    run(need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
        "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1])
    return paths


def need(program):
    """The path of a program that the test cannot do without."""
    # sshd is not on everybody's path.
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise Skip(f"{program} is not installed")
    return path


def need_packages(*names):
    """Node packages that the test cannot do without."""
    need("node")
    for name in names:
        if not os.path.isdir(os.path.join(NODE_MODULES, name)):
            raise Skip(f"the npm package {name} is not installed: no network, or no npm")


def chromium(*options):
    """A headless Chromium with a profile of its own; returns it and the URL of its debugging port."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise Skip("no Chromium is installed; CI_BROWSER=1 scripts/test installs it")
    child = start("chromium", path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                  "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                  f"--user-data-dir={os.path.join(directory, 'profile')}", "--remote-debugging-port=0", *options,
                  "about:blank")
    return child, f"http://{child.wait_for(r'DevTools listening on ws://([^/]+)/')[1]}"


def node_environment():
    return {**os.environ, "NODE_PATH": NODE_MODULES}


def run(*argv, limit=60, check=True, **options):
    """Runs a program to its end; returns what it wrote to standard output and error."""
    options = {"stdin": subprocess.DEVNULL, **options}
    if "input" in options:
        del options["stdin"]
    done = subprocess.run([str(word) for word in argv], capture_output=True, timeout=limit, **options)
    done.stdout_text = done.stdout.decode("utf-8", "replace")
    done.stderr_text = done.stderr.decode("utf-8", "replace")
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n"
                             f"{done.stdout_text[-4000:]}{done.stderr_text[-4000:]}")
    return done


def free_port():
    """A port for programs that cannot take port 0. Somebody else may take it first; then the test fails loudly."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(what, condition, seconds=READY_SECONDS):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def end_children():
    for child in reversed(children):
        child.end(signal.SIGKILL if child.process.poll() is None and child.name == "stubborn" else signal.SIGTERM)


def main(test, limit):
    """Runs `test` within `limit` seconds."""
    global directory
    began = time.monotonic()

    def too_long(_signal, _frame):
        raise TimeoutError(f"not done within {limit} s")

    def told_to_end(_signal, _frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGTERM, told_to_end)
    signal.alarm(limit)
    code = 0
    with tempfile.TemporaryDirectory(prefix="ringback-outside-") as directory:
        try:
            test()
            print(f"{time.monotonic() - began:.1f} s")
        except Skip as skip:
            print(skip)
            code = 77
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            for child in children:
                print(f"--- {child.name} (exit code {child.process.poll()}) said:\n{child.said()[-3000:]}")
            code = 1
        finally:
            signal.alarm(0)
            end_children()
    sys.stdout.flush()
    # A thread that still waits for something must not hold the exit back.
    os._exit(code) if threading.active_count() > 1 else sys.exit(code)
