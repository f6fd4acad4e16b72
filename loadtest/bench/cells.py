"""The measurements: one function a workload, each giving {metric: value} for one contender in one round."""

import contextlib
import json
import re
import subprocess
import tempfile
from pathlib import Path

from . import contenders as who
from . import machine
from .machine import REST_CPU, cpu_ns

BULK_MODES = ("get", "put", "chunked-get", "chunked-put", "tunnel-get", "tunnel-put")
STREAMS = 4
PARKED = 18_000


class Failed(Exception):
    """A measurement that does not count, and why."""


class Load:
    """Our own load generator, running."""

    def __init__(self, bench, setup, workload, *options, connections, seconds, cpus=REST_CPU,
                 nice=0):
        self.seconds = seconds
        self.folder = tempfile.TemporaryDirectory()
        self.out = Path(self.folder.name) / "load.json"
        self.program = machine.Program(
            [bench.loadtest, "load", "--workload", workload, "--target", setup.target,
             "--connections", connections, "--seconds", seconds, "--json", self.out,
             "--watch", setup.pid, *options], cpus, nice=nice)

    def report(self):
        """Waits for the end, and gives the JSON."""
        try:
            if self.program.process.wait(self.seconds + 90) != 0:
                raise Failed(self.program.output())
            return json.loads(self.out.read_text())
        except subprocess.TimeoutExpired as late:
            raise Failed(str(late)) from late
        finally:
            self.stop()

    def stop(self):
        self.program.stop()
        self.folder.cleanup()


def load(*arguments, **options):
    """Runs our own load generator and gives its JSON."""
    return Load(*arguments, **options).report()


def checked(report):
    """The report, if hardly anything went wrong; errors are told either way."""
    if report["requests"] + report["bulk_bytes"] == 0:
        raise Failed(f"nothing was answered: {report['errors']} errors, {report['statuses']}")
    return report


def wrk(setup, connections, seconds):
    """Runs wrk, and gives requests, errors, seconds, and the relay's CPU meanwhile."""
    machine.apt("wrk", "wrk")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"{setup.scheme}://{setup.target}/d0/x"]
    # Once for a moment: connections of the relay to its backends are open and buffers are warm.
    machine.Program(command[:3] + ["-d1s", command[-1]]).process.wait(30)
    before = cpu_ns(setup.pid)
    program = machine.Program(command)
    program.process.wait(seconds + 30)
    cpu = cpu_ns(setup.pid) - before
    text = program.output()
    program.stop()
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    if not found or not int(found.group(1)):
        raise Failed(text)
    scale = {"ms": 1e-3, "s": 1, "m": 60}[found.group(3)]
    requests, took = int(found.group(1)), float(found.group(2)) * scale
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    errors += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    return {"us_per_request": cpu / 1e3 / requests, "requests_per_second": requests / took,
            "errors": errors}


def small(connections):
    """Small requests on kept connections, one domain, by wrk."""
    def measure(bench, contender, seconds):
        with contender.running(bench, gateways=connections + 16, domains=1) as setup:
            return wrk(setup, connections, seconds)
    return measure


def bulk(mode):
    """Long transfers, four at a time."""
    def measure(bench, contender, seconds):
        tunnel = mode.startswith("tunnel")
        if tunnel and contender is who.NGINX:
            raise Failed("does not carry CONNECT")
        with contender.running(bench, gateways=2 * STREAMS, domains=STREAMS, tunnel=tunnel) as setup:
            report = checked(load(bench, setup, "bulk", "--mode", mode, "--domains", STREAMS,
                                  connections=STREAMS, seconds=seconds))
            return {"cpu_seconds_per_gb": report["relay"]["cpu_seconds_per_gb"],
                    "megabytes_per_second": report["bulk_bytes_per_second"] / 1e6,
                    "errors": report["errors"]}
    return measure


def flat(gateways, asked):
    """Ten clients going round the first `asked` domains; every domain has one parked gateway."""
    def measure(bench, contender, seconds):
        with contender.running(bench, gateways=gateways) as setup:
            report = checked(load(bench, setup, "many", "--domains", asked,
                                  connections=10, seconds=seconds))
            return requests(report)
    return measure


def requests(report):
    """The usual metrics of small requests."""
    return {"us_per_request": report["relay"]["us_per_request"],
            "requests_per_second": report["requests_per_second"],
            "errors": report["errors"]}


def latency(bench, contender, seconds):
    """An open loop at half of what nginx manages here, latency from when each request was due."""
    connections = 64
    if not hasattr(bench, "half_of_nginx"):
        with who.NGINX.running(bench) as setup:
            report = checked(load(bench, setup, "small", "--domains", 1,
                                  connections=connections, seconds=seconds))
            bench.half_of_nginx = round(report["requests_per_second"] / 2)
        machine.say(f"  half of nginx's saturation is {bench.half_of_nginx} requests/s")
    # One domain with a pool, as the others have one origin that they keep connections to.
    with contender.running(bench, gateways=connections + 16, domains=1) as setup:
        report = checked(load(bench, setup, "small", "--domains", 1,
                              "--rate", bench.half_of_nginx, "--label", contender.label,
                              connections=connections, seconds=seconds))
    took = report["latency_us"]
    return {"p50_us": took["p50"], "p99_us": took["p99"], "p99_9_us": took["p99_9"],
            "answered_per_second": report["requests_per_second"],
            "late_p99_us": report["lateness_us"]["p99"], "errors": report["errors"],
            "_percentiles": report["percentiles"]}


def mixed(bench, contender, seconds):
    """500 small requests per second beside four downloads, and the downloads alone just before.

    Small requests and downloads are asked for, and answered, by processes of their own: what one does is no delay of
    the other's, and those of the small requests, which measure delays, have the right of way on their common CPU.
    """
    domains, streams, rate = who.SMALL_DOMAINS, who.BULK_DOMAINS, 500
    far = ("--domains", streams, "--domain-offset", domains)
    with contender.running(bench, gateways=2 * domains, domains=domains, bulk=streams, nice=-10) as setup:
        alone = checked(load(bench, setup, "bulk", *far, connections=streams, seconds=seconds))
        downloads = Load(bench, setup, "bulk", *far, connections=streams, seconds=seconds + 1)
        try:
            small = checked(load(bench, setup, "small", "--domains", domains, "--rate", rate,
                                 connections=domains, seconds=seconds, nice=-10))
            beside = checked(downloads.report())
        finally:
            downloads.stop()
    took = small["latency_us"]
    return {"p50_us": took["p50"], "p99_us": took["p99"], "p99_9_us": took["p99_9"],
            "megabytes_per_second": beside["bulk_bytes_per_second"] / 1e6,
            "megabytes_per_second_alone": alone["bulk_bytes_per_second"] / 1e6,
            "kept": beside["bulk_bytes_per_second"] / alone["bulk_bytes_per_second"],
            "errors": small["errors"] + beside["errors"] + alone["errors"]}


def churn(bench, contender, seconds):
    """A client connection for each request, 64 at a time."""
    with contender.running(bench, gateways=80, domains=64) as setup:
        return requests(checked(load(bench, setup, "churn", "--domains", 64,
                                     connections=64, seconds=seconds)))


def storm(bench, contender, seconds, gateways=PARKED):
    """All gateways cut off at once and back at once, while clients of other domains go on."""
    canaries = 8
    with contextlib.ExitStack() as stack:
        setup = bench.relay(stack)
        bench.fleet(stack, setup.target, contender.dialect, 2 * canaries, canaries, offset=gateways)
        fleet = bench.fleet(stack, setup.target, contender.dialect, gateways)
        first = int(fleet.ready.split()[2])
        machine.time.sleep(1)
        canary = Load(bench, setup, "storm", "--domains", canaries, "--domain-offset", gateways,
                      connections=canaries, seconds=max(seconds, 10))
        stack.callback(canary.stop)
        machine.time.sleep(2)
        before = cpu_ns(setup.pid)
        fleet.process.stdin.write("storm\n")
        fleet.process.stdin.flush()
        ready = fleet.wait_line("ready", 120)
        cpu = cpu_ns(setup.pid) - before
        report = canary.report()
    return {"back_after_ms": int(ready.split()[2]), "first_time_ms": first,
            "us_per_registration": cpu / 1e3 / gateways,
            "canary_errors": report["errors"], "canary_requests": report["requests"],
            "canary_p99_us": report["latency_us"]["p99"], "canary_max_us": report["latency_us"]["max"]}


def shards(cpus, workload):
    """The same load on one shard and on two; everything else is on both CPUs either way."""
    def measure(bench, contender, seconds):
        hot = workload == "hot"
        gateways = {"gateways": 32, "domains": 1} if hot else {"gateways": 64}
        with contender.running(bench, cpus=cpus, rest=(0, 1), **gateways) as setup:
            report = checked(load(bench, setup, workload, "--domains", 1 if hot else 64,
                                  connections=32 if hot else 64, seconds=seconds, cpus=(0, 1)))
        threads = sorted((t["cpu_seconds"] for t in report["relay"]["threads"]), reverse=True)
        busiest = threads[0] / sum(threads[:max(len(cpus), 1)])
        return dict(requests(report), busiest_shard=busiest)
    return measure


CORE = (who.PTTH, who.CLASSIC, who.PIPE, who.NGINX, who.HAPROXY, who.RATHOLE)
OURS = (who.PTTH, who.CLASSIC)
BULKY = (who.PTTH, who.CLASSIC, who.PIPE, who.PIPE_SPLICE, who.NGINX, who.HAPROXY,
         who.HAPROXY_SPLICE, who.HAPROXY_TUNED, who.RATHOLE)

# Workload: cells of it, each with its title, its function, and those it compares.
WORKLOADS = {
    "small": {
        "small-64": ("Small requests, 64 connections", small(64), CORE),
        "small-256": ("Small requests, 256 connections", small(256), CORE),
    },
    "bulk": {f"bulk-{mode}": (f"Bulk, {mode}, {STREAMS} streams", bulk(mode), BULKY)
             for mode in BULK_MODES},
    "flat": {
        "flat-10": ("10 clients, 10 parked gateways in 10 domains", flat(10, 10), (who.PTTH,)),
        "flat-18000": (f"10 clients asking 10 domains, {PARKED} parked gateways in {PARKED} domains",
                       flat(PARKED, 10), (who.PTTH,)),
        "flat-18000-all": (f"10 clients going round all of {PARKED} parked gateways in {PARKED} domains",
                           flat(PARKED, PARKED), (who.PTTH,)),
    },
    "latency": {
        "latency": ("Open loop at half of nginx's saturation, 64 connections", latency,
                    (who.PTTH, who.PIPE, who.NGINX, who.HAPROXY, who.RATHOLE)),
    },
    "mixed": {
        "mixed": (f"500 small requests/s beside {STREAMS} downloads", mixed,
                  (who.PTTH, who.CLASSIC, who.NGINX, who.HAPROXY, who.HAPROXY_SPLICE, who.HAPROXY_TUNED)),
    },
    "churn": {"churn": ("A client connection for each request", churn, CORE)},
    "storm": {"storm": (f"{PARKED} gateways come back at once", storm, OURS)},
    "shards": {
        "shards-1": ("64 connections, 64 domains, one shard", shards((0,), "small"), (who.PTTH,)),
        "shards-2": ("64 connections, 64 domains, two shards", shards((0, 1), "small"), (who.PTTH,)),
        "hot-2": ("32 connections, one domain with 32 gateways, two shards", shards((0, 1), "hot"),
                  (who.PTTH,)),
    },
}
