"""What became of everything that a client asked for, and when."""

import collections
import threading
import time

# So many right answers in a row, and a client counts as being back for good.
STREAK = 3


class Ledger:
    """One client's answers. Times are of the wall clock, as clients in other languages know it."""

    def __init__(self, name, dialect, lag):
        # What its gateway speaks, and how long it may take to ask again and to be served when all is well.
        self.name, self.dialect, self.lag = name, dialect, lag
        self.lock = threading.Lock()
        # Each as (when it came, when it was asked for, what went wrong or None).
        self.entries = []
        self.refusals, self.errors = collections.Counter(), collections.Counter()
        self.wrongs = []
        self.hands = 0
        self.is_dead = False

    def right(self, asked, came=None):
        with self.lock:
            self.is_dead = False
            self.entries.append((came or time.time(), asked, None))

    def refused(self, what, asked):
        self.wrote_off(self.refusals, what, asked)

    def failed(self, what, asked):
        self.wrote_off(self.errors, what, asked)

    def wrote_off(self, counter, what, asked):
        with self.lock:
            counter[what] += 1
            self.entries.append((time.time(), asked, what))

    def wrong(self, what, asked):
        with self.lock:
            self.wrongs.append(f"{time.strftime('%H:%M:%S')} {what}")
            self.entries.append((time.time(), asked, "wrong bytes"))

    def mark(self):
        """A place in the ledger, for what comes behind it."""
        with self.lock:
            return len(self.entries)

    def since(self, mark):
        with self.lock:
            return self.entries[mark:]

    def back(self, mark, cleared):
        """Seconds until the first right answer to what was asked after `cleared`, and until the first one of those that
        nothing went wrong behind; each None if there is none yet. The latter takes a streak."""
        asked_later = [entry for entry in self.since(mark) if entry[1] >= cleared]
        first = next((came for came, _, trouble in asked_later if not trouble), None)
        streak = []
        for came, _, trouble in asked_later:
            streak = [] if trouble else [*streak, came] if len(streak) < STREAK else streak
        settled = streak[0] if len(streak) >= STREAK and not self.is_dead else None
        return [moment and max(0.0, moment - cleared) for moment in (first, settled)]

    def troubles(self, mark):
        """What went wrong, and how often."""
        return collections.Counter(trouble for _, _, trouble in self.since(mark) if trouble)

    def longest_gap(self, began, ended):
        """Seconds between right answers, at most, and when that began."""
        with self.lock:
            moments = [came for came, _, trouble in self.entries if not trouble and began < came < ended]
        moments = [began, *moments, ended]
        gaps = [(later - earlier, earlier) for earlier, later in zip(moments, moments[1:])]
        return max(gaps)

    def attempts(self):
        return len(self.entries)

    def rights(self):
        with self.lock:
            return sum(not trouble for _, _, trouble in self.entries)
