"""Workloads as users have them: transfers at a rate, the gateway program in front of a server, and rates below
saturation. The other cells saturate the relay with backends that answer from memory."""

from . import contenders as who
from . import machine
from .cells import Failed, checked, load, requests

# Connections and bytes a second of each: a gigabit a second nearly full, either way; and a few that are quick.
PACES = {"200x500k": (200, 500_000), "2000x50k": (2_000, 50_000), "10x5m": (10, 5_000_000)}
PACED_MODES = {"get": "down, by length", "put": "up, by length", "chunked-get": "down, chunked",
               "chunked-put": "up, chunked", "tunnel-get": "down, tunnel", "tunnel-put": "up, tunnel"}
# What most networks carry; loopback's own 64 KiB would make two packets of a second's bytes.
MTU = 1_500
# A transfer's length: each ends, and is checked, well within what the generator waits for at the end. As long again until
# the first ones, which are shorter, are over.
TRANSFER_SECONDS = 4
STREAMS = 4
CONNECTIONS = 64
RATES = (2_000, 5_000, 10_000, 20_000, 30_000)


def paced(count, pace, mode):
    """`count` transfers at a time whose senders keep to `pace` bytes a second each."""
    def measure(bench, contender, seconds):
        tunnel = mode.startswith("tunnel")
        if tunnel and contender is who.NGINX:
            raise Failed("does not carry CONNECT")
        # Only who sends is paced: backends down, clients up.
        far = None if mode.endswith("put") else pace
        with machine.packets(MTU), contender.running(bench, gateways=2 * count, domains=count, tunnel=tunnel, pace=far,
                                                 connections=count) as setup:
            report = checked(load(bench, setup, "bulk", "--mode", mode, "--domains", count, "--pace", pace,
                                  "--size", pace * TRANSFER_SECONDS, "--warmup", TRANSFER_SECONDS,
                                  connections=count, seconds=seconds))
        return {"cpu_seconds_per_gb": report["relay"]["cpu_seconds_per_gb"],
                "megabytes_per_second": report["bulk_bytes_per_second"] / 1e6,
                "share_of_pace": report["bulk_bytes_per_second"] / (count * pace),
                "errors": report["errors"]}
    return measure


def behind_gateway(workload, mode=None):
    """Long transfers or small requests, with a gateway program between the relay and the server where there is one."""
    connections = STREAMS if mode else CONNECTIONS
    per_unit = "cpu_seconds_per_gb" if mode else "us_per_request"

    def measure(bench, contender, seconds):
        with contender.running(bench, gateways=2 * connections, domains=1) as setup:
            watched = ("--watch-gateway", setup.gateway_pid) if setup.gateway_pid else ()
            report = checked(load(bench, setup, workload, "--domains", 1, *(("--mode", mode) if mode else ()),
                                  *watched, connections=connections, seconds=seconds))
        found = requests(report)
        if mode:
            found = {"cpu_seconds_per_gb": report["relay"]["cpu_seconds_per_gb"],
                     "megabytes_per_second": report["bulk_bytes_per_second"] / 1e6, "errors": report["errors"]}
        if report["gateway"]:
            found[f"gateway_{per_unit}"] = report["gateway"][per_unit]
        return found
    return measure


def at_rate(rate):
    """Small requests by the clock, at the same rate for everybody."""
    def measure(bench, contender, seconds):
        # One domain with a pool, as the others have one origin that they keep connections to.
        with contender.running(bench, gateways=CONNECTIONS + 16, domains=1) as setup:
            report = checked(load(bench, setup, "small", "--domains", 1, "--rate", rate,
                                  connections=CONNECTIONS, seconds=seconds))
        took = report["latency_us"]
        # Until the last answer: whoever is full answers late, but answers.
        answered = report["requests"] / (report["seconds"] + report["drain_seconds"])
        return {"us_per_request": report["relay"]["us_per_request"], "p50_us": took["p50"], "p99_us": took["p99"],
                "answered_per_second": answered,
                "late_p99_us": report["lateness_us"]["p99"], "errors": report["errors"]}
    return measure


PACED = (who.PTTH, who.PIPE_SPLICE, who.NGINX, who.HAPROXY_SPLICE, who.HAPROXY_TUNED, who.RATHOLE)
# The other dialect differs in what it registers, not in how bytes flow: once each way is enough.
PACED_CLASSIC = {"200x500k": ("get", "put")}
GATEWAY = (who.WITH_GATEWAY, who.NGINX, who.HAPROXY_SPLICE, who.RATHOLE)
RATED = (who.PTTH, who.PIPE, who.NGINX, who.HAPROXY, who.RATHOLE)


def paced_contenders(name, mode):
    classic = (who.CLASSIC,) if mode in PACED_CLASSIC.get(name, ()) else ()
    return PACED[:1] + classic + PACED[1:]


WORKLOADS = {
    "paced": {f"paced-{name}-{mode}": (f"{count:,} transfers × {pace // 1_000:,} kB/s, {told}, MTU {MTU:,}",
                                       paced(count, pace, mode), paced_contenders(name, mode))
              for name, (count, pace) in PACES.items() for mode, told in PACED_MODES.items()},
    "gateway": {
        "gateway-get": (f"Gateway program, bulk down by length, {STREAMS} streams", behind_gateway("bulk", "get"),
                        GATEWAY),
        "gateway-put": (f"Gateway program, bulk up by length, {STREAMS} streams", behind_gateway("bulk", "put"),
                        GATEWAY),
        "gateway-small": (f"Gateway program, small requests, {CONNECTIONS} connections", behind_gateway("small"),
                          GATEWAY),
    },
    "rate": {f"rate-{rate}": (f"Open loop at {rate:,} requests/s, {CONNECTIONS} connections", at_rate(rate), RATED)
             for rate in RATES},
}
