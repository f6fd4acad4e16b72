"""The programs of the week, and the service manager that starts again what has ended: nobody else lends a hand."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .. import machine
from . import clients
from .clients import HERE
from .ledger import Ledger
from .world import END_SECONDS, Failed, Program, wait_for

# How long after its end a program is started again, as by a service manager.
RESTART_SECONDS = 1
# What its bounds on time leave to a machine with other things to do.
SLACK = 5
# Longest pause between attempts: `ringback gateway` (src/gateway/backoff.rs), and the devices of the examples.
GATEWAY_PAUSE, DEVICE_PAUSE = 60, 30


class Relay:
    """One process of the relay."""

    def __init__(self, party, count, nofile=None, more=(), reader=False):
        world = party.world
        self.world, self.reader = world, None
        self.log = (world.disk or world.folder) / f"relay-{count}.log"
        command = [party.ringback, "relay", "--listen", world.address, "--cores", min(2, os.cpu_count()),
                   "--allow-any-gateway", *party.relay_options, *more]
        if nofile:
            command = ["prlimit", f"--nofile={nofile}", *command]
        with self.log.open("wb") as log:
            stderr = log
            if reader:
                # Its standard error is a pipe, and this reads it.
                self.reader = Program(world, "log reader", ["cat"], stdin=subprocess.PIPE, stdout=log)
                stderr = self.reader.process.stdin
            self.program = Program(world, f"relay {count}", command, stderr=stderr)
        if self.reader:
            self.reader.process.stdin.close()
        try:
            self.program.wait_line(re.compile("listens on"))
        except Failed:
            self.kill()
            raise
        self.since = time.time()

    def said(self):
        return self.log.read_text(errors="replace")

    def report(self, seconds=END_SECONDS):
        """What it holds and has counted, as it says on SIGUSR1."""
        before = len(self.said())
        self.program.signal(signal.SIGUSR1)
        pattern = re.compile(r"ringback: total:(.*)\n")
        total = wait_for("the relay reports", lambda: pattern.search(self.said(), before), seconds)
        return {name: int(value) for name, value in re.findall(r" ([a-z0-9-]+)=(\d+)", total[1])}

    def open_files(self):
        return machine.open_files(self.program.process.pid)

    def terminate(self, times=1, apart=0.3):
        """Tells it to stop."""
        self.program.may_end = True
        self.program.signal(signal.SIGTERM)
        for _ in range(times - 1):
            # Deliberately no condition: a second signal within a second counts as the same one.
            time.sleep(apart)
            self.program.signal(signal.SIGTERM)

    def kill(self):
        self.program.kill()
        if self.reader:
            self.reader.signal(signal.SIGCONT)
            self.reader.process.wait()


class Party:
    """Everything but the clients: relay, gateways, devices, and the server behind the gateways."""

    def __init__(self, world, stack, ringback, relay_options, times):
        self.world, self.stack, self.ringback = world, stack, ringback
        self.relay_options, self.times = relay_options, times
        self.relays, self.relay = 0, None
        self.faults, self.programs, self.commands = [], {}, {}
        self.node_environment = {**os.environ, "NODE_PATH": str(node_modules())}
        stack.callback(self.stop)

    def start_relay(self, **options):
        """Starts a relay as the service manager does, also beside one that drains."""
        self.relays += 1
        self.relay = Relay(self, self.relays, **options)
        return self.relay

    def drained(self, relay):
        """Waits for the end of a relay that was told to stop, which must be in order and in time."""
        try:
            code = relay.program.process.wait(self.times["drain"] + SLACK)
        except subprocess.TimeoutExpired:
            code = f"not ended {SLACK} s after --drain"
        if code != 0:
            self.fault(f"a relay that was told to stop: {code}; it said: {relay.said()[-500:]}")
        relay.kill()

    def fault(self, what):
        self.faults.append(f"{time.strftime('%H:%M:%S')} {what}")
        machine.say(f"  FAULT: {what}")

    def start(self, name):
        self.programs[name] = Program(self.world, name, self.commands[name], among_gateways=True,
                                      env=self.node_environment)
        return self.programs[name]

    def start_service(self):
        """The server behind the gateways; gives its address."""
        service = "service"
        self.commands[service] = ["node", HERE / "service.js"]
        return self.start(service).wait_line(re.compile(r"listening at (\S+)"))[1]

    def start_gateway(self, domain, target, *options):
        self.commands[domain] = [self.ringback, "gateway", "--relay", f"http://{self.world.address}",
                                 "--domain", domain, "--target", target, "--idle-timeout", f"{self.times['idle']}s",
                                 *options]
        self.start(domain).wait_line(re.compile("connected to the relay"))

    def start_device(self, domain, command):
        self.commands[domain] = [*command, self.world.host, self.world.port, domain]
        self.start(domain)

    def gateways(self):
        """Names of the programs that dial the relay."""
        return [name for name in self.programs if name != "service"]

    def is_ringback(self, name):
        return self.commands[name][0] == self.ringback

    def restart(self, name):
        """Kills a program; the service manager starts it again a moment later."""
        self.programs[name].kill()
        time.sleep(RESTART_SECONDS)
        self.start(name)

    def watch(self):
        """Starts again what has ended without having been told to, which is a fault."""
        if not self.relay.program.is_running() and not self.relay.program.may_end:
            self.fault(f"the relay ended with {self.relay.program.process.returncode}: {self.relay.said()[-1000:]}")
            self.start_relay()
        for name, program in list(self.programs.items()):
            if not program.is_running() and not program.may_end:
                self.fault(f"{name} ended with {program.process.returncode}: {program.said()[-1000:]}")
                self.start(name)

    def stop(self):
        for program in self.programs.values():
            program.kill()
        if self.relay:
            self.relay.kill()


def node_modules():
    """Where npm put the packages that scripts/test installs."""
    return Path(os.environ.get("RINGBACK_NODE_MODULES", target_dir() / "outside" / "node_modules"))


def target_dir():
    """Where cargo puts what it builds; nothing is built for the week."""
    return Path(os.environ.get("CARGO_TARGET_DIR", machine.ROOT / "target"))


def has_node_packages():
    return shutil.which("node") and (node_modules() / "ws").is_dir()


def devices(world, examples):
    """The example devices that can run here, by their domains: the language that they name, and their command."""
    compiled = world.folder / "device"
    found = {}
    for domain, language, program, command in (
            ("device-python", "Python", "python3", ["python3", examples / "device.py"]),
            ("device-js", "JavaScript", "node", ["node", examples / "device.js"]),
            ("device-c", "C", "cc", [compiled])):
        if not shutil.which(program):
            world.skipped[domain] = f"{program} is not installed"
            continue
        if program == "cc":
            machine.run("cc", "-Wall", "-Wextra", "-O2", "-pthread", "-o", compiled, examples / "device.c")
        found[domain] = language, command
    return found


class Lag:
    """How long each kind of client may take, when all is well, until it has asked again and has its answer."""

    SMALL = 3  # its pause, and --client-wait
    BULK = 5  # and the slowest transfer
    PAGE = 6  # a browser waits 3 s before it opens an event stream again
    SOCKET = 8  # its own longest pause is 5 s


def invite(party, seed):
    """Starts everything, a domain for each client; returns the clients."""
    world, guests = party.world, []
    party.start_relay()

    def guest(name, dialect, lag, make, *more):
        ledger = Ledger(name, dialect, lag)
        try:
            guests.append(make(world, ledger, *more))
        except Failed as why:
            world.skipped[name] = str(why)

    if has_node_packages():
        target = party.start_service()
        for domain, *options in (["page"], ["socket"], ["files"], ["old", "--dialect", "classic"]):
            party.start_gateway(domain, target, *options)
        guest("page", "ptth", Lag.PAGE, clients.Page, "page", party.node_environment)
        guest("socket", "ptth", Lag.SOCKET, clients.Socket, "socket", party.node_environment)
        for domain, dialect in ("files", "ptth"), ("old", "classic"):
            guest(domain, dialect, Lag.SMALL, clients.Curl, clients.small_requests(domain), clients.SMALL_PAUSE)
            requests = clients.bulk_requests(domain, random.Random(f"{seed}/{domain}"))
            guest(f"{domain}, bulk", dialect, Lag.BULK, clients.Curl, requests, clients.BULK_PAUSE)
    else:
        world.skipped["page, socket, files, old"] = "no node, or not its package ws; scripts/test installs them"
    for domain, (language, command) in devices(world, machine.ROOT / "examples" / "device").items():
        party.start_device(domain, command)
        requests = clients.device_requests(domain, language, random.Random(f"{seed}/{domain}"))
        guest(domain, "device", Lag.SMALL, clients.Curl, requests, clients.SMALL_PAUSE)
    for one in reversed(guests):
        party.stack.callback(one.stop)
    return guests
