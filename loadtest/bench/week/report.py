"""What the week has shown, as a document and as numbers."""

import json
import platform
import subprocess
import time

from .. import machine
from .hour import IN_PROGRESS, told
from .mishaps import CLASSIC_SILENCE, HELD, MISHAPS, SECOND_PROBE
from .party import DEVICE_PAUSE, GATEWAY_PAUSE, SLACK, Lag


def version(*command):
    try:
        done = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True)
        return done.stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "none"


def number(name, program):
    """A program's version without its name."""
    return version(program, "--version").removeprefix(name).split(" (")[0].split()[0]


def gather(hour, ringback, settings, leftovers):
    """Everything that the document says, in a form that a program reads, too."""
    party, commit = hour.party, version("git", "-C", machine.ROOT, "rev-parse", "--short", "HEAD")
    return {
        "versions": {"ringback": f"{number('ringback', ringback)}, checkout {commit}", "kernel": platform.release(),
                     "curl": number("curl", "curl"), "node": number("v", "node"), "Python": platform.python_version(),
                     "Chromium": number("Chromium", "chromium")},
        "date": time.strftime("%Y-%m-%d"), "minutes": (hour.ended - hour.began) / 60, **settings,
        "relay_starts": party.relays, "mishaps": hour.records,
        "clients": {ledger.name: of_client(ledger, hour) for ledger in hour.ledgers},
        "leftovers": leftovers, "skipped": party.world.skipped, "faults": party.faults}


def of_client(ledger, hour):
    gap, since = ledger.longest_gap(hour.began, hour.ended)
    during = [MISHAPS[record["mishap"]].title for record in hour.records if record["began"] - 1 <= since + gap
              and since <= record["ended"]]
    return {"attempts": ledger.attempts(), "right": ledger.rights(), "refusals": dict(ledger.refusals),
            "errors": dict(ledger.errors), "wrong": ledger.wrongs, "longest_gap": gap,
            "longest_gap_during": during[0] if during else "", "hands": ledger.hands}


def counts(found):
    return ", ".join(f"{count}× {what}" for what, count in sorted(found.items(), key=lambda one: -one[1]))


def recoveries(data):
    """Mishaps by clients: the slowest return of each."""
    clients = list(data["clients"])
    lines = ["| | times | " + " | ".join(clients) + " |", "|---|--:|" + "---|" * len(clients)]
    for name, mishap in MISHAPS.items():
        records = [record for record in data["mishaps"] if record["mishap"] == name]
        cells = []
        for client in clients if records else []:
            of_client = [record["clients"][client] for record in records]
            missing = sum(not cell["back"] for cell in of_client)
            worst = max(of_client, key=lambda cell: cell["settled"] or 0)
            cells.append(f"**no**, {missing} of {len(records)}" if missing else told(worst))
        lines.append(f"| {mishap.title} | {len(records)} | " + " | ".join(cells or [""] * len(clients)) + " |")
    return "\n".join(lines)


def ledgers(data):
    lines = ["| client | attempts | right | refusals | connection errors | wrong bytes | longest gap, s | hands |",
             "|---|--:|--:|---|---|--:|---|--:|"]
    for name, one in data["clients"].items():
        lines.append(f"| {name} | {one['attempts']:,} | {one['right']:,} | {counts(one['refusals'])} "
                     f"| {counts(one['errors'])} | {len(one['wrong'])} | {one['longest_gap']:.1f}, "
                     f"{one['longest_gap_during']} | {one['hands']} |")
    return "\n".join(lines)


def bounds(data):
    """How long each mishap may take each client, at most, as it came out."""
    lines = ["| | away, s | bounds, s |", "|---|--:|---|"]
    for name, mishap in MISHAPS.items():
        records = [record for record in data["mishaps"] if record["mishap"] == name]
        if records:
            away = max(record["shut_out"] for record in records)
            limits = [cell["bound"] for record in records for cell in record["clients"].values()]
            lines.append(f"| {mishap.title} | {away:.1f} | {min(limits):.0f} to {max(limits):.0f} |")
    return "\n".join(lines)


def left(data):
    names = ("connections", "parked", "domains", *IN_PROGRESS, "open files")
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for when, held in data["leftovers"].items():
        lines.append(f"| {when} | " + " | ".join(str(held[name]) for name in names) + " |")
    return "\n".join(lines)


def bullets(found, nothing):
    return "\n".join(f"- {one}" for one in found) or nothing


def document(data):
    wrong = [f"{name}: {what}" for name, one in data["clients"].items() for what in one["wrong"]]
    versions = "\n".join(f"| {name} | {value} |" for name, value in data["versions"].items())
    return f"""# The first week, in an hour

Written by `scripts/week`: clients that go on by themselves, gateways and devices behind a router, and one mishap after
the other, in random order. A service manager starts again what has ended; nobody else lends a hand.

| | |
|---|---|
{versions}
| date | {data['date']} |
| minutes | {data['minutes']:.1f} |
| seed | {data['seed']} |
| mishaps | {len(data['mishaps'])}, and {data['relay_starts']} relays |
| relay's options | `{data['relay_options']}` |

## Faults

{bullets(data['faults'] + wrong, 'None: everybody came back by themselves, in time, and no byte was wrong.')}

## Who came back, and when

Seconds from the moment when the cause had gone until the first right answer to what was asked after it; behind `…`
until the first one behind which nothing went wrong any more. Of several times, the slowest.

{recoveries(data)}

`page` is a page with an `EventSource` in Chromium, which nobody touches, `socket` a WebSocket application without a
heartbeat; both behind `ringback gateway`, as are `files` (`ptth`) and `old` (`--dialect classic`), which curl asks for.
The devices are those of [examples/device](../examples/device). Every answer is compared with what it has to be: events
have to be complete and in order across all connections, uploads to arrive whole and once.

{ledgers(data)}

## In time means

{bounds(data)}

Every client gets {SLACK} s, and the time that it takes to ask again and to be served: {Lag.SMALL} s for small requests
(`--client-wait` among them), {Lag.BULK} s for bulk, {Lag.PAGE} s for the page (Chromium waits 3 s), {Lag.SOCKET} s for
the WebSocket (its pauses grow up to 5 s). When gateways could not register for a while, their pauses have grown: up to
four times that while and 2 s, but at most {GATEWAY_PAUSE} s (`ringback gateway`) or {DEVICE_PAUSE} s (the devices).

When a NAT forgets their connections, or nothing passes for a while, nobody tells them: a classic gateway gives up after
{CLASSIC_SILENCE} s of silence, a `ptth` one when it has heard nothing for {data['idle']} s (`--idle-timeout`), but not
before {SECOND_PROBE} s; and a relay that has sent a request down such a connection holds the client for up to {HELD} s
more (`--tcp-user-timeout` is 30 s, `--response-timeout` and `--session-idle` are 60 s). As long as an old relay drains
beside the new one, its clients have time. Where nothing may be noticed (full disk, stalled log, hanging server,
signals), no request may fail.

## Left over

What the last relay holds when all clients have gone, and when all gateways have gone, too.

{left(data)}

## Skipped

{bullets([f'{what}: {why}' for what, why in data['skipped'].items()], 'Nothing.')}
"""


def write(data, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    else:
        path.write_text(document(data))
