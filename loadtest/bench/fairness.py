"""What a polite client waits beside rude peers: the relay on one CPU, everybody else on the other."""

import contextlib
import json
import subprocess

from . import machine
from .machine import REST_CPU, Program

P50_MS, P99_MS = 3.0, 20.0
# Rude peers begin before the polite client and end after it.
LEAD = 1.0
# Beyond its time, how long the polite client may wait for an answer, and how long rude peers may take to begin.
PATIENCE, BEGINNING = 10, 60

# What stands in the table, and the operation that is counted.
KINDS = {
    "none": ("nobody", ""),
    "refused": ("one connection pipelining refused requests, 1 MiB at once", "requests"),
    "served": ("one connection pipelining served requests, 1 MiB at once", "requests"),
    "interim": ("one gateway flooding interim responses", "responses"),
    "bulk-length": ("64 flows by length", "blocks"),
    "bulk-small-chunks": ("64 flows in chunks of 64 bytes", "blocks"),
    "bulk-large-chunks": ("64 flows in chunks of 64 KiB", "blocks"),
    "bulk-tunnels": ("64 flows in tunnels", "blocks"),
    "drips": ("1,000 connections dripping heads", "bytes"),
    "storm": ("2,000 connections opened and closed at once", "connections"),
    "slow-readers": ("1,000 slow readers", "reads"),
}


def rude(bench, stack, kind, target, seconds):
    """Rude peers that are at it. They get what the polite client and its gateway leave of their CPU: these two must wait
    for the relay only, not for that CPU."""
    command = ["chrt", "--idle", "0", bench.loadtest, "rude", kind, "--target", target, "--seconds", seconds]
    program = Program(command, REST_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.callback(program.stop)
    program.wait_line("ready", BEGINNING)
    return program


def measure(bench, kind, seconds):
    """The polite client's waits beside one kind, and what the rude peers did in the meantime."""
    with contextlib.ExitStack() as stack:
        relay = bench.relay(stack)
        bench.fleet(stack, relay.target, gateways=1)
        peers = None
        if kind != "none":
            # They have to be ready and must outlast the polite client, whose last answer may be late.
            peers = rude(bench, stack, kind, relay.target, seconds + 2 * LEAD + BEGINNING)
            machine.time.sleep(LEAD)
        before = machine.cpu_ns(relay.pid)
        polite = Program([bench.loadtest, "polite", "--target", relay.target, "--seconds", seconds,
                          "--patience", PATIENCE], REST_CPU, stdout=subprocess.PIPE)
        stack.callback(polite.stop)
        try:
            said, _ = polite.process.communicate(timeout=seconds + 2 * PATIENCE)
        except subprocess.TimeoutExpired:
            raise RuntimeError("the polite client has not come back") from None
        if polite.process.returncode != 0:
            raise RuntimeError(f"the polite client ended with {polite.process.returncode}: {polite.output()}")
        found = json.loads(said)
        alive = relay.program.process.poll() is None
        found["relay_cpu"] = (machine.cpu_ns(relay.pid) - before) / 1e9 / seconds if alive else None
        found["relay_ended"] = None if alive else relay.program.output()[-500:]
        if peers is not None:
            found |= outcome(peers)
    return found


def outcome(peers):
    """Ends the rude peers; what they have done a second since they were ready."""
    # Their standard input ends.
    said, _ = peers.process.communicate(timeout=PATIENCE)
    operations, moved, took = said.split("done ")[1].split()
    return {"rude_operations": int(operations) / float(took), "rude_megabytes": int(moved) / 1e6 / float(took)}


def within(found):
    """Whether the limits were kept."""
    return (not found["errors"] and not found["relay_ended"]
            and found["p50_ms"] <= P50_MS and found["p99_ms"] <= P99_MS)


def table(data):
    """The rows measured so far, as Markdown."""
    lines = ["| beside | p50 ms | p99 ms | max ms | answers | errors | within | relay's CPU | rude peers did |",
             "|---|--:|--:|--:|--:|--:|---|--:|---|"]
    for kind, found in data["kinds"].items():
        beside, operation = KINDS[kind]
        if "failed" in found:
            lines.append(f"| {beside} | | | | | | no: {found['failed']} | | |")
            continue
        verdict = "yes" if within(found) else "no"
        if found["relay_ended"]:
            verdict = "no: the relay has ended"
        cpu = f"{found['relay_cpu']:.0%}" if found["relay_cpu"] is not None else ""
        did = ""
        if "rude_operations" in found:
            did = f"{found['rude_operations']:,.0f} {operation}/s"
            if found["rude_megabytes"] >= 0.1:
                did += f", {found['rude_megabytes']:,.1f} MB/s received"
        lines.append(f"| {beside} | {found['p50_ms']:.2f} | {found['p99_ms']:.2f} | {found['max_ms']:.2f} "
                     f"| {found['samples']:,} | {found['errors']:,} | {verdict} | {cpu} | {did} |")
    return "\n".join(lines)


def document(data):
    """The whole text."""
    versions = "\n".join(f"| {name} | {data['versions'][name]} |" for name in ("ringback", "kernel", "CPU"))
    return f"""# Fairness

Written by `scripts/fairness`: what a polite client waits beside peers that keep the relay as busy as they can. The
limits are a median of {P50_MS:g} ms and {P99_MS:g} ms for 99 of 100 answers, each, without an error.

| | |
|---|---|
{versions}
| date | {data['date']} |
| seconds each | {data['seconds']:g} |

{table(data)}

The relay is one shard on CPU {machine.RELAY_CPU}; everybody else is on CPU {machine.REST_CPU}. The polite client sends
one small request at a time on one kept connection, to a `ptth` gateway of its own, and pauses 1 ms behind each answer.
The rude peers get what the polite client and its gateway leave of their CPU (`SCHED_IDLE`), so that these two wait for
the relay and not for their own CPU; what the rude peers got done is in the last column. Half of the flows are uploads.
Blocks are of 256 KiB. Bytes that gateways received from uploads count as received.
"""
