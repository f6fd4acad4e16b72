"""What goes wrong in a first week. Each mishap is bounded, and its cause is gone when its function returns."""

import contextlib
import errno
import select
import signal
import socket
import time

from .clients import PATIENCE, content
from .party import DEVICE_PAUSE, GATEWAY_PAUSE, RESTART_SECONDS, SLACK
from .world import Failed, Program, wait_for

# How long a gateway may believe in a connection that was forgotten on the way. Classic: until the relay has not said
# anything for so long. ptth: until nothing has come for --idle-timeout, but not before a second probe is due.
CLASSIC_SILENCE, SECOND_PROBE = 75, 60
# A relay that has sent a request down a forgotten connection gives that up after --tcp-user-timeout, and one that waits
# there for room for the rest of an upload after --response-timeout or --session-idle.
HELD = 60
# Open files of a relay that has few, connections that one believes it may have in spite of that, and the idle
# connections of a flood.
FEW_FILES, TOO_MANY, FLOOD = 320, 5000, 400
# More reports than a pipe (64 KiB) and the relay's queue (1,024 messages) hold; and than the rest of the log's last
# page does, which is there also when the disk is full.
REPORTS_TO_PIPE, REPORTS_TO_DISK, PAGE = 1500, 10, 4096
# A download that is in progress when a relay is told to stop: about three seconds.
CANARY_BYTES, CANARY_RATE = 3 << 20, "1M"


class Scene:
    """What a mishap gets to work with, and what it tells of itself."""

    def __init__(self, party, rng):
        self.party, self.world, self.rng, self.times = party, party.world, rng, party.times
        # How the next relay is started.
        self.relay_options = {}
        self.cleared, self.shut_out = None, 0.0

    def start_relay(self):
        return self.party.start_relay(**self.relay_options)

    def clear(self, shut_out=0.0):
        """The cause is gone: from here on everything has to come back. Gateways could not register for so many seconds,
        and their pauses have grown with that."""
        self.cleared, self.shut_out = time.time(), shut_out


class Canary:
    """A download in progress, which a drain has to leave alone."""

    def __init__(self, scene):
        self.name = f"canary-{time.time()}"
        self.party = scene.party
        if "files" not in self.party.programs:
            self.program = None
            return
        self.got = scene.world.folder / "canary"
        self.got.unlink(missing_ok=True)
        url = f"http://{scene.world.address}/files/bytes/{self.name}/{CANARY_BYTES}"
        self.program = Program(scene.world, "canary", [
            "curl", "-q", "-sS", "--noproxy", "*", "--limit-rate", CANARY_RATE, "--max-time", PATIENCE,
            "-o", self.got, url])
        wait_for("a download is in progress", lambda: self.got.exists() and self.got.stat().st_size)

    def check(self):
        if not self.program:
            return
        code = self.program.process.wait(PATIENCE + SLACK)
        body = self.got.read_bytes()
        if code != 0 or body != content(self.name, CANARY_BYTES):
            self.party.fault(f"a download that was in progress when the relay was told to stop: {len(body)} of "
                             f"{CANARY_BYTES} bytes, curl ended with {code}: {self.program.said().strip()}")


def leave(scene, relay, **how):
    """Has a relay stop listening; returns when it did."""
    relay.terminate(**how)
    wait_for("the relay no longer listens", lambda: not scene.world.listens(), every=0.01)
    return time.time()


def stop_and_start(scene):
    old, canary = scene.party.relay, Canary(scene)
    left = leave(scene, old)
    scene.party.drained(old)
    scene.start_relay()
    scene.clear(time.time() - left)
    canary.check()


def start_beside(scene, times=1):
    old, canary = scene.party.relay, Canary(scene)
    left = leave(scene, old, times=times)
    scene.start_relay()
    scene.clear(time.time() - left)
    canary.check()
    scene.party.drained(old)


def terminate_twice(scene):
    start_beside(scene, times=2)


def kill_and_start(scene):
    left = time.time()
    scene.party.relay.kill()
    scene.start_relay()
    scene.clear(time.time() - left)


def stay_away(scene):
    left = time.time()
    scene.party.relay.kill()
    time.sleep(scene.times["away"])
    scene.start_relay()
    scene.clear(time.time() - left)


def fill_disk(scene):
    relay, filler = scene.party.relay, scene.world.fill_disk()
    try:
        before = relay.log.stat().st_size
        scene.clear()
        for _ in range(REPORTS_TO_DISK):
            relay.program.signal(signal.SIGUSR1)
            time.sleep(scene.times["flood"] / REPORTS_TO_DISK)
        if relay.log.stat().st_size - before > PAGE:
            raise Failed("the disk was not full: the relay could write its log")
    finally:
        filler.unlink()
    says_what_was_dropped(scene, relay)


def says_what_was_dropped(scene, relay):
    """Once its log can be written again, it says how much is missing."""
    try:
        relay.report()
        # Behind the first message that can be written.
        wait_for("it says so", lambda: "messages before this could not be written" in relay.said(), SLACK)
    except Failed as why:
        scene.party.fault(f"the log of a relay that could not write it for a while: {why}")


def stall_log(scene):
    """The reader of the relay's standard error stops reading, as a log collector may that has trouble of its own."""
    relay = scene.party.relay
    relay.reader.signal(signal.SIGSTOP)
    scene.clear()
    for _ in range(REPORTS_TO_PIPE):
        relay.program.signal(signal.SIGUSR1)
        # Signals that are pending are one.
        time.sleep(0.002)
    time.sleep(scene.times["flood"] / 2)
    relay.reader.signal(signal.SIGCONT)
    says_what_was_dropped(scene, relay)


class Flood:
    """Idle connections, as many as somebody takes."""

    def __init__(self, scene, count):
        host, port = scene.world.host, scene.world.port
        self.address, self.count, self.open = (host, port), count, []

    def go_on(self):
        """Opens those that are missing; a quarter of a second's worth."""
        readable, _, _ = select.select(self.open, [], [], 0) if self.open else ([], [], [])
        for one in readable:
            # The relay has answered, closed or reset it.
            one.close()
            self.open.remove(one)
        while len(self.open) < self.count:
            one = socket.socket()
            one.setblocking(False)
            if one.connect_ex(self.address) not in (0, errno.EINPROGRESS):
                one.close()
                break
            self.open.append(one)
        time.sleep(0.25)

    def close(self):
        for one in self.open:
            one.close()
        self.open = []


def flood(scene, counters):
    """Takes all that the relay has left, for a while; one of the counters says that nothing was left."""
    began = time.time()
    relay, idle = scene.party.relay, Flood(scene, FLOOD)
    before = relay.report()
    with contextlib.closing(idle):
        while time.time() < began + scene.times["flood"]:
            idle.go_on()
        after = relay.report()
    scene.clear(time.time() - began)
    if all(after[name] == before[name] for name in counters):
        raise Failed(f"the flood has not used up the relay's open files: {after}")


def few_files(scene):
    """Nothing is left within the limit with which the relay was started."""
    flood(scene, ("over-connections", "reset"))


def fewer_files(scene):
    """The relay was promised more than the limit allows: the kernel refuses what the relay wants to take."""
    flood(scene, ("accept-failed",))


def hang(scene):
    service = scene.party.programs["service"]
    service.signal(signal.SIGSTOP)
    try:
        time.sleep(scene.times["hang"])
    finally:
        service.signal(signal.SIGCONT)
    scene.clear()


def forget(scene):
    scene.world.forget_connections()
    scene.clear()


def cut(scene):
    with scene.world.cut():
        time.sleep(scene.times["cut"])
    scene.clear()


def signal_all(scene):
    """To programs of ringback, which promise to go on; the examples promise nothing of the kind."""
    ours = [program for name, program in scene.party.programs.items() if scene.party.is_ringback(name)]
    scene.clear()
    for which in (signal.SIGHUP, signal.SIGUSR1):
        for program in [scene.party.relay.program, *ours]:
            program.signal(which)


def kill_gateways(scene):
    names = scene.party.gateways()
    scene.rng.shuffle(names)
    for name in names:
        scene.party.restart(name)
    scene.clear(RESTART_SECONDS)


class Mishap:
    """A kind of mishap: what happens, what it needs of the world, whether clients may notice anything, and how the
    relay has to have been started for it. A silent one is one that gateways are not told of."""

    def __init__(self, title, run, needs=None, noticed=True, silent=False, relay_options=None):
        self.title, self.run, self.needs = title, run, needs
        self.noticed, self.silent, self.relay_options = noticed, silent, relay_options

    def bound(self, scene, ledger):
        """Seconds within which a client has to be back for good after the cause has gone."""
        seconds = ledger.lag + SLACK
        if scene.shut_out:
            # A pause may be twice the one before, and jitter may have made that one short.
            longest = DEVICE_PAUSE if ledger.dialect == "device" else GATEWAY_PAUSE
            seconds += min(longest, 4 * scene.shut_out + 2)
        if self.silent:
            ptth = max(scene.times["idle"], SECOND_PROBE)
            seconds += HELD + (ptth if ledger.dialect == "ptth" else CLASSIC_SILENCE)
        return seconds


MISHAPS = {
    "stop": Mishap("relay stopped by SIGTERM, drained, and started", stop_and_start),
    "beside": Mishap("new relay started beside the draining one", start_beside),
    "twice": Mishap("SIGTERM twice within a second, new relay beside", terminate_twice),
    "kill": Mishap("relay killed and started", kill_and_start),
    "away": Mishap("relay away", stay_away),
    "disk": Mishap("disk of the relay's log full", fill_disk, needs="a disk of its own", noticed=False),
    "log": Mishap("reader of the relay's log stalled", stall_log, noticed=False, relay_options={"reader": True}),
    "files": Mishap("flood up to the limit of open files", few_files, relay_options={"nofile": FEW_FILES}),
    "fewer": Mishap("the same, `--max-connections` beyond that limit", fewer_files,
                    relay_options={"nofile": FEW_FILES, "more": ["--max-connections", TOO_MANY]}),
    "hang": Mishap("server behind the gateways hangs", hang, needs="service", noticed=False),
    "forget": Mishap("NAT forgets the gateways' connections", forget, needs="a network of its own", silent=True),
    "cut": Mishap("no way between gateways and relay for a while", cut, needs="a network of its own", silent=True),
    "signals": Mishap("SIGHUP and SIGUSR1 to all of ringback", signal_all, noticed=False),
    "gateways": Mishap("gateways and devices killed and started", kill_gateways),
}
# Each of these ends with another relay.
RESTARTS = ("stop", "beside", "twice", "kill", "away")


def deck(names, rng):
    """The mishaps in random order, each with the options of the relay that it starts. Those that need a special relay
    stand one behind the other between mishaps that start one; the last of these starts a usual one."""
    names = rng.sample(names, len(names))
    restarts = [name for name in names if name in RESTARTS]
    special = [name for name in names if MISHAPS[name].relay_options]
    chain = []
    for name in special:
        chain += [(restarts.pop() if restarts else "beside", MISHAPS[name].relay_options), (name, {})]
    if chain:
        chain.append((restarts.pop() if restarts else "beside", {}))
    units = [chain] + [[(name, {})] for name in names if name in restarts or name not in (*RESTARTS, *special)]
    rng.shuffle(units)
    return [step for unit in units for step in unit]
