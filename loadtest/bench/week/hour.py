"""The hour itself: one mishap after the other, what became of every client after each, and what the relay is left with.
"""

import signal
import time

from .. import machine
from .mishaps import MISHAPS, deck
from .party import SLACK
from .world import Failed, wait_for

# Everybody has to be served for the first time within.
FIRST_SECONDS = 60
# A client that has not come back in time gets so long before the next mishap is not put off any more.
RESCUE_SECONDS = 180
IN_PROGRESS = ("sessions", "buffers", "pipes", "streaming", "held")


class Hour:
    def __init__(self, scene, guests, names):
        self.scene, self.party, self.times = scene, scene.party, scene.times
        self.guests, self.names = guests, names
        self.ledgers = [guest.ledger for guest in guests]
        self.records, self.marks = [], {}

    def begin(self):
        """Everybody is served before anything goes wrong."""
        self.scene.clear()
        self.marks = {ledger: 0 for ledger in self.ledgers}
        late = self.wait_until_settled(lambda ledger: FIRST_SECONDS)
        if late:
            raise Failed(f"not served within {FIRST_SECONDS} s: {', '.join(ledger.name for ledger in late)}")
        self.began = time.time()

    def go_through(self, seconds):
        """All mishaps once, and again until the time is over."""
        rounds = 0
        while not rounds or time.time() - self.began < seconds:
            for name, relay_options in deck(self.names, self.scene.rng):
                if rounds and time.time() - self.began >= seconds:
                    break
                self.scene.relay_options = relay_options
                self.one(name)
            rounds += 1

    def one(self, name):
        """One mishap, with the quiet behind it."""
        mishap, scene = MISHAPS[name], self.scene
        machine.say(f"{time.strftime('%H:%M:%S')} {mishap.title}")
        self.marks = {ledger: ledger.mark() for ledger in self.ledgers}
        began, scene.cleared = time.time(), None
        try:
            mishap.run(scene)
        except (Failed, OSError) as why:
            self.party.fault(f"{mishap.title}: {why}")
        if scene.cleared is None:
            scene.clear()
        late = time.time() - scene.cleared
        bounds = {ledger: mishap.bound(scene, ledger) + late for ledger in self.ledgers}
        self.wait_until_settled(bounds.get)
        self.party.watch()
        self.wait_quietly(scene.rng.uniform(*self.times["pauses"]))
        # What went wrong in the quiet belongs to this mishap.
        self.wait_until_settled(bounds.get)
        self.record(name, began, bounds)
        self.rescue()

    def wait_quietly(self, seconds):
        """Nothing happens to anybody."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(min(0.5, seconds))
            self.party.watch()

    def settled(self, ledger):
        return ledger.back(self.marks[ledger], self.scene.cleared)[1]

    def wait_until_settled(self, bound):
        """Until everybody is back for good, or cannot be in time any more; returns who is not."""
        while True:
            late = [ledger for ledger in self.ledgers if self.settled(ledger) is None]
            waited = time.time() - self.scene.cleared
            if not any(waited < bound(ledger) and not ledger.is_dead for ledger in late):
                return late
            time.sleep(0.1)

    def record(self, name, began, bounds):
        """Who came back, and when."""
        mishap, cells = MISHAPS[name], {}
        for ledger in self.ledgers:
            first, settled = ledger.back(self.marks[ledger], self.scene.cleared)
            back = settled is not None and settled <= bounds[ledger]
            troubles = ledger.troubles(self.marks[ledger])
            cells[ledger.name] = {"first": first, "settled": settled, "bound": bounds[ledger], "back": back,
                                  "troubles": dict(troubles)}
            if not back:
                dead = ", it has given up for good" if ledger.is_dead else ""
                self.party.fault(f"{mishap.title}: {ledger.name} did not come back by itself within "
                                 f"{bounds[ledger]:.0f} s{dead}: {dict(troubles)}")
            elif troubles and not mishap.noticed:
                self.party.fault(f"{mishap.title}: {ledger.name} noticed: {dict(troubles)}")
        self.records.append({"mishap": name, "began": began, "cleared": self.scene.cleared, "ended": time.time(),
                             "shut_out": self.scene.shut_out, "clients": cells})
        machine.say("  " + "  ".join(f"{who} {told(cell)}" for who, cell in cells.items()))

    def rescue(self):
        """Who has not come back gets a hand, or time: the next mishap has to find everybody served."""
        lost = [guest for guest in self.guests if self.settled(guest.ledger) is None]
        self.scene.clear()
        self.marks = {ledger: ledger.mark() for ledger in self.ledgers}
        for guest in lost:
            guest.lend_a_hand()
            guest.ledger.is_dead = False
        for ledger in self.wait_until_settled(lambda ledger: RESCUE_SECONDS):
            self.party.fault(f"{ledger.name} is still not served {RESCUE_SECONDS} s later")

    def leftovers(self):
        """What the relay holds when its clients have gone, and when its gateways have gone, too."""
        self.ended = time.time()
        for guest in self.guests:
            guest.stop()
        relay = self.party.relay
        found = {"clients gone": self.wait_for_report(
            relay, "its clients have gone", self.times["settle"],
            lambda held: not any(held[name] for name in IN_PROGRESS) and held["connections"] == held["parked"])}
        for name, program in self.party.programs.items():
            code = program.end()
            if self.party.is_ringback(name) and code != 0:
                self.party.fault(f"{name} was told to stop and ended with {code}: {program.said()[-500:]}")
        found["gateways gone"] = self.wait_for_report(
            relay, "its gateways have gone", self.times["grace"] + self.times["settle"],
            lambda held: not any(held[name] for name in (*IN_PROGRESS, "connections", "parked", "domains")))
        relay.program.may_end = True
        relay.program.signal(signal.SIGTERM)
        try:
            wait_for("the relay ends", lambda: not relay.program.is_running(), SLACK)
            if relay.program.process.returncode != 0:
                self.party.fault(f"the relay ended with {relay.program.process.returncode}: {relay.said()[-500:]}")
        except Failed as why:
            self.party.fault(f"an idle relay that was told to stop: {why}")
        self.look_for_panics()
        return found

    def look_for_panics(self):
        world = self.party.world
        for log in [*world.logs.iterdir(), *(world.disk or world.folder).glob("relay-*.log")]:
            if "panicked at" in (text := log.read_text(errors="replace")):
                self.party.fault(f"a panic in {log.name}: {text[text.index('panicked at'):][:500]}")

    def wait_for_report(self, relay, when, seconds, is_clean):
        """The relay's report when it has nothing left, or after so many seconds."""
        until = time.monotonic() + seconds
        while not is_clean(held := relay.report()) and time.monotonic() < until:
            time.sleep(0.5)
        held["open files"] = relay.open_files()
        if not is_clean(held):
            self.party.fault(f"left over in the relay {seconds:g} s after {when}: {held}")
        return held


def told(cell):
    """How long one client took to come back."""
    if not cell["back"]:
        return "NO"
    first, settled = cell["first"], cell["settled"]
    return f"{first:.1f}" if settled - first < 0.1 else f"{first:.1f}…{settled:.1f}"
