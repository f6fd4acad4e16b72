"""docs/benchmarks.md: tables with the winner in bold, the charts, the verdicts, and how to repeat it."""

import json
import statistics
import textwrap
from pathlib import Path

from . import machine, users

# What a metric is called, how it is shown, and whether less is better (None: told, not judged).
METRICS = {
    "us_per_request": ("CPU µs/request", "{:.1f}", True),
    "us_per_connection": ("CPU µs/connection", "{:.0f}", True),
    "requests_per_second": ("requests/s", "{:,.0f}", False),
    "answered_per_second": ("answered/s", "{:,.0f}", None),
    "cpu_seconds_per_gb": ("CPU s/GB", "{:.3f}", True),
    "gateway_us_per_request": ("gateway CPU µs/request", "{:.1f}", True),
    "gateway_cpu_seconds_per_gb": ("gateway CPU s/GB", "{:.3f}", True),
    "megabytes_per_second": ("MB/s", "{:,.0f}", False),
    "megabytes_per_second_alone": ("MB/s alone", "{:,.0f}", None),
    "share_of_pace": ("share of the asked rate", "{:.3f}", None),
    "kept": ("share of speed kept", "{:.2f}", False),
    "p50_us": ("p50 µs", "{:,.0f}", True),
    "p99_us": ("p99 µs", "{:,.0f}", True),
    "p99_9_us": ("p99.9 µs", "{:,.0f}", True),
    "late_p99_us": ("generator late, p99 µs", "{:,.0f}", None),
    "user_bytes": ("user bytes each", "{:,.0f}", True),
    "kernel_bytes": ("kernel bytes each, both ends", "{:,.0f}", None),
    "kernel_bytes_both_ends": ("kernel bytes each, both ends", "{:,.0f}", None),
    "kernel_bytes_only_held": ("the same, only held", "{:,.0f}", None),
    "kernel_bytes_beyond_socket": ("beyond the socket", "{:,.0f}", None),
    "clients": ("clients", "{:,.0f}", None),
    "back_after_ms": ("all back after ms", "{:,.0f}", None),
    "first_time_ms": ("first time ms", "{:,.0f}", None),
    "us_per_registration": ("CPU µs/registration", "{:.1f}", None),
    "canary_requests": ("canary requests", "{:,.0f}", None),
    "canary_errors": ("canary errors", "{:,.0f}", None),
    "canary_p99_us": ("canary p99 µs", "{:,.0f}", None),
    "canary_max_us": ("canary max µs", "{:,.0f}", None),
    "busiest_shard": ("busiest shard's share", "{:.2f}", None),
    "errors": ("errors", "{:,.0f}", None),
}
# Characters in a line of prose.
WIDTH = 120
FLOOR = ("bare pipe", "bare pipe, splice")
P, C, PIPE = "ringback, ptth", "ringback, classic", "bare pipe"


def ratio(cell, metric, ours, theirs, limit, other_cell=None, at_least=False):
    """One line of the verdicts: a metric of ours over a metric of theirs, and what it must be."""
    return {"cell": cell, "metric": metric, "ours": ours, "theirs": theirs, "limit": limit,
            "other_cell": other_cell or cell, "at_least": at_least}


def goals():
    """What the relay is meant to reach, by number."""
    for size in (64, 256):
        cell = f"small-{size}"
        yield "1", ratio(cell, "us_per_request", P, PIPE, 1.10)
        if size == 256:
            yield "1", ratio(cell, "us_per_request", P, "rathole", 0.80)
        yield "1", ratio(cell, "us_per_request", P, "nginx", 0.70)
        yield "1", ratio(cell, "us_per_request", P, "HAProxy", 0.60)
        for peer in ("rathole", "nginx", "HAProxy"):
            yield "1", ratio(cell, "requests_per_second", P, peer, 1.0, at_least=True)
        yield "2", ratio(cell, "us_per_request", C, PIPE, 1.15)
    for mode in ("get", "put", "chunked-get", "chunked-put", "tunnel-get", "tunnel-put"):
        for peer, limit in (("HAProxy, splice", 0.65), ("rathole", 0.30)):
            yield "3", ratio(f"bulk-{mode}", "cpu_seconds_per_gb", P, peer, limit)
            yield "3", ratio(f"bulk-{mode}", "megabytes_per_second", P, peer, 1.0, at_least=True)
    yield "4", ratio("idle-gateways", "user_bytes", P, None, 200)
    yield "4", ratio("idle-gateways", "kernel_bytes_beyond_socket", P, None, 300)
    yield "4", ratio("idle-clients", "user_bytes", P, None, 256)
    yield "5", ratio("flat-18000", "us_per_request", P, P, 1.05, other_cell="flat-10")
    yield "5", ratio("flat-18000-all", "us_per_request", P, P, 1.05, other_cell="flat-10")
    for metric in ("p50_us", "p99_us", "p99_9_us"):
        for peer in ("nginx", "HAProxy"):
            yield "6", ratio("latency", metric, P, peer, 1.0)
    yield "7", ratio("mixed", "p99_us", P, "HAProxy", 1.0)
    yield "7", ratio("mixed", "kept", P, None, 0.80, at_least=True)
    yield "8", ratio("churn", "us_per_request", P, "nginx", 1.0)
    for dialect in (P, C):
        yield "8", ratio("storm", "canary_errors", dialect, None, 0)
    yield "9", ratio("shards-2", "us_per_request", P, P, 1.10, other_cell="shards-1")
    yield "9", ratio("hot-2", "busiest_shard", P, None, 0.60)
    yield from as_users_have_it()
    yield from with_tls()


def with_tls():
    """The same over TLS from the client."""
    ours = f"{P}, TLS"
    for peer, limit in (("nginx, TLS", 0.65), ("HAProxy, TLS", 0.68), (f"{P}, no TLS", 1.18)):
        yield "13", ratio("tls-small", "us_per_request", ours, peer, limit)
    for cell, limit in (("tls-new", 0.50), ("tls-resumed", 0.55)):
        for peer in ("nginx, TLS", "HAProxy, TLS"):
            yield "13", ratio(cell, "us_per_connection", ours, peer, limit)


def as_users_have_it():
    """The same for transfers at a rate, the gateway program, and rates below saturation."""
    best, best_tuned, w = "HAProxy, splice", "HAProxy, splice, 1 MiB pipes", f"{P}, gateway program"
    for mode in users.PACED_MODES:
        cell = f"paced-200x500k-{mode}"
        limits = (0.35, 0.25, 0.30) if mode == "get" else (0.50, None, None)
        for peers, limit in zip(((best, best_tuned), ("nginx",), ("rathole",)), limits):
            for peer in peers if limit else ():
                yield "10", ratio(cell, "cpu_seconds_per_gb", P, peer, limit)
    for mode in ("get", "put"):
        cell = f"gateway-{mode}"
        yield "11", ratio(cell, "cpu_seconds_per_gb", w, best, 0.90)
        yield "11", ratio(cell, "megabytes_per_second", w, "rathole", 2.0, at_least=True)
        yield "11", ratio(cell, "gateway_cpu_seconds_per_gb", w, "rathole", 0.40)
    yield "11", ratio("gateway-small", "gateway_us_per_request", w, "rathole", 0.80)
    yield "11", ratio("gateway-small", "requests_per_second", w, "rathole", 1.3, at_least=True)
    for rate in users.RATES:
        if rate >= 5_000:
            for peer, limit in (("nginx", 0.80), ("HAProxy", 0.80), (PIPE, 1.05)):
                yield "12", ratio(f"rate-{rate}", "us_per_request", P, peer, limit)


def values(data, cell, label, metric):
    rounds = data["cells"].get(cell, {}).get("rounds", {}).get(label, [])
    return [found[metric] for found in rounds if found.get(metric) is not None]


def reached(data, goal):
    """The median over the rounds; where two are compared, of the rounds' own ratios."""
    if goal["theirs"] is None:
        ours = values(data, goal["cell"], goal["ours"], goal["metric"])
        return statistics.median(ours) if ours else None
    ours = data["cells"].get(goal["cell"], {}).get("rounds", {}).get(goal["ours"], [])
    theirs = data["cells"].get(goal["other_cell"], {}).get("rounds", {}).get(goal["theirs"], [])
    pairs = [a[goal["metric"]] / b[goal["metric"]] for a, b in zip(ours, theirs)
             if a.get(goal["metric"]) and b.get(goal["metric"])]
    return statistics.median(pairs) if pairs else None


def cell_table(cell):
    """A table: a row for each contender, a column for each metric."""
    rounds = cell["rounds"]
    present = {m for found in rounds.values() for one in found for m in one}
    metrics = [m for m in METRICS if m in present]
    lines = ["| | " + " | ".join(METRICS[m][0] for m in metrics) + " |",
             "|---|" + "---:|" * len(metrics)]
    medians = {label: {m: statistics.median(v) for m in metrics
                       if (v := [one[m] for one in found if one.get(m) is not None])}
               for label, found in rounds.items()}
    best = {}
    for metric in metrics:
        less = METRICS[metric][2]
        field = {label: m[metric] for label, m in medians.items() if metric in m and label not in FLOOR}
        if less is not None and len(field) > 1:
            best[metric] = (min if less else max)(field, key=field.get)
    for label, found in rounds.items():
        row = []
        for metric in metrics:
            numbers = [one[metric] for one in found if one.get(metric) is not None]
            if not numbers:
                row.append("–")
                continue
            form = METRICS[metric][1].format
            text = form(statistics.median(numbers))
            if best.get(metric) == label:
                text = f"**{text}**"
            if len(numbers) > 1:
                text += f" ({form(min(numbers))}–{form(max(numbers))})"
            row.append(text)
        lines.append(f"| {label} | " + " | ".join(row) + " |")
    for label, why in cell.get("failed", {}).items():
        lines.append(f"\n{label}: not measured: {why.strip().splitlines()[-1][:160]}")
    return "\n".join(lines)


def far_sides(cell):
    """A sentence about who had what behind it; cells measured before this was recorded have none."""
    having = {}
    for label, far in cell.get("far", {}).items():
        having.setdefault(far, []).append(label)
    if not having:
        return ""
    told = (f"{', '.join(f'*{label}*' for label in labels)}: {far}" for far, labels in having.items())
    return textwrap.fill(f"Far sides: {'; '.join(told)}.", WIDTH) + "\n\n"


def verdicts(data):
    lines = ["| № | what | must be | is | |", "|---|---|---:|---:|---|"]
    for number, goal in goals():
        found = reached(data, goal)
        if found is None:
            continue
        name = METRICS[goal["metric"]][0]
        what = f"{goal['cell']}: {name}, {goal['ours']}"
        if goal["theirs"] and goal["other_cell"] != goal["cell"]:
            what += f" ÷ {goal['other_cell']}"
        elif goal["theirs"]:
            what += f" ÷ {goal['theirs']}"
        good = found >= goal["limit"] if goal["at_least"] else found <= goal["limit"]
        sign = "≥" if goal["at_least"] else "≤"
        unit = "" if not goal["theirs"] else " ×"
        lines.append(f"| {number} | {what} | {sign} {goal['limit']:g}{unit} | {found:.4g}{unit} | "
                     f"{'met' if good else '**missed**'} |")
    return "\n".join(lines)


def bars(data, loadtest, folder, name, title, cells, metric):
    """A chart of one metric over several cells."""
    cells = [cell for cell in cells if cell in data["cells"]]
    if not cells:
        return ""
    labels = list(dict.fromkeys(label for cell in cells for label in data["cells"][cell]["rounds"]))
    groups = []
    for cell in cells:
        found = [values(data, cell, label, metric) for label in labels]
        groups.append({"label": cell, "values": [
            [statistics.median(v), min(v), max(v)] if v else None for v in found]})
    source = {"title": title, "y": METRICS[metric][0], "series": labels, "groups": groups}
    chart(loadtest, "bars", folder / f"{name}.svg", source)
    return f"\n![{title}]({name}.svg)\n"


def chart(loadtest, kind, out, *sources, title=None):
    """Has the load generator draw."""
    paths = []
    for index, source in enumerate(sources):
        path = Path(f"{out}.{index}.json")
        path.write_text(json.dumps(source))
        paths.append(path)
    options = ["--title", title] if title else []
    machine.run(loadtest, "chart", "--kind", kind, "--out", out, *options, *paths)
    for path in paths:
        path.unlink()


def latency_chart(data, loadtest, folder):
    """The curve of each contender's median round by p99."""
    rounds = data["cells"].get("latency", {}).get("rounds", {})
    curves = []
    for label, found in rounds.items():
        found = sorted((one for one in found if "_percentiles" in one), key=lambda one: one["p99_us"])
        if found:
            curves.append({"label": label, "percentiles": found[len(found) // 2]["_percentiles"]})
    if not curves:
        return ""
    title = "Latency at half of nginx's saturation, from when each request was due"
    chart(loadtest, "latency", folder / "benchmarks-latency.svg", *curves, title=title)
    return f"\n![{title}](benchmarks-latency.svg)\n"


def rate_chart(data, loadtest, folder):
    """CPU for a small request by the rate of an open loop."""
    rates = [rate for rate in users.RATES if f"rate-{rate}" in data["cells"]]
    if not rates:
        return ""
    series = []
    for label in dict.fromkeys(label for rate in rates for label in data["cells"][f"rate-{rate}"]["rounds"]):
        found = ((rate, values(data, f"rate-{rate}", label, "us_per_request")) for rate in rates)
        series.append({"label": label, "points": [[rate, statistics.median(v)] for rate, v in found if v]})
    title = "CPU for a small request, by rate"
    source = {"title": title, "x": "requests/s", "y": METRICS["us_per_request"][0], "series": series}
    chart(loadtest, "lines", folder / "benchmarks-rate.svg", source)
    return f"\n![{title}](benchmarks-rate.svg)\n"


INTRO = """# Benchmarks

Written by `scripts/compare`; the numbers of every round are in [benchmarks.json](benchmarks.json).

Each figure is the median of a cell's rounds with the lowest and the highest behind it. The rounds are interleaved: every
contender has its turn before the first has its second. The best of a column is **bold**, whoever it is; the bare pipe
parses nothing, chooses nothing and is no relay, so it is the floor and does not compete. CPU is what the
relay's own process has used, to the nanosecond, from `/proc/PID/task/*/schedstat`; the kernel's work on its behalf is in it.
"""

SETTING = """## How it was measured

- The relay's process has CPU {relay} to itself; gateways, origins and clients share CPU {rest} (in the two-shard cells everything
  may use both).
- ringback: `ringback relay --cores {relay}`, and a fleet of gateways in one process for each 6,000. The peers that connect to
  their backends get the same answering program as a plain server. rathole's client runs beside it on CPU {rest}.
- bare pipe: `ringback-loadtest pipe`, one backend connection for each client connection, multishot accept and receive with
  provided buffers; with *splice*: epoll and `splice(2)` through 1 MiB pipes.
- nginx: one process, `keepalive 512` to the origin, HTTP/1.1, access log off, nothing spooled to disk, 64 KiB buffers.
- HAProxy: `nbthread 1`, `http-reuse always`, no logs; with *splice*: `option splice-request`
  and `splice-response`, through pipes of the size that it comes with, and once more with `tune.pipesize 1048576`, the size
  of our own. Tunnels are carried in `mode tcp`, because its
  HTTP mode refuses `CONNECT` to a path. Debian's HAProxy 2.6 has no reverse HTTP (`rhttp` came with 2.9), so that is not compared.
- rathole: one TCP service, no encryption, defaults otherwise.
- Small requests at 64 and 256 connections: `wrk -t1`. Everything else: `ringback-loadtest load`, which checks every answer:
  the status, and that the body names the domain asked, or has the number of bytes asked for. `errors` counts what was wrong.
- Everything runs in a network namespace of its own, with *cubic* as everybody's congestion control, Linux's own choice, whatever
  this machine's is; cells named *-bbr* were measured with BBR, which paces every sender and costs all of them more.
- *paced-…*: each transfer's sender has the kernel keep to the rate (`SO_MAX_PACING_RATE`, and `TCP_NOTSENT_LOWAT` for a tenth of a
  second): the far side's answers, or the load generator's uploads. Loopback's MTU is that of Ethernet, chunks hold a tenth of a second,
  and transfers of four seconds begin one after the other. The share is of all transfers' rates together; a connection's
  first ten packets are not paced (by Linux), so who opens new ones gets a little more than asked. HAProxy has pipes for
  all of them, nginx keeps as many connections to the origin.
- *gateway-…*: the far sides are programs as users have them, on CPU {rest} with the origin and the load generator: `ringback gateway` of
  the same build as the relay (with `--against`, of the other build for the other relay), or rathole's client; nginx and HAProxy connect
  to the origin. *Gateway CPU* is what that program has used; where there is none there is no figure.
- *rate-…*: an open loop at the same rate for everybody, for what a relay costs that is not full. What is answered after the end counts,
  with its time and its CPU.
- Beside downloads, small requests have clients and backends of their own, with a higher priority than those of the downloads; nginx
  and HAProxy send them to an origin of their own.
- Open loop: requests are due by the clock, and latency counts from when a request was due, not from when it could be sent.
- Idle gateways: the kernel's objects are counted with the gateways at a relay that only holds them, and again with ours; the difference
  is what ours waits with. Both ends of a connection are on this machine and in the sum.

## What this cannot show

- Both ends and the relay are on one machine: no network card, no wire, no loss, no round trip. Loopback makes copies that a card
  would not, and spares interrupts that a card would make.
- Clients and gateways share one CPU. Where that CPU is full first, requests a second tell about it and not about the relay; CPU for each request
  still tells about the relay. A relay with time to spare is woken more often for fewer requests at a time, which costs it more for each.
- This is a virtual machine whose neighbours come and go: absolute times drift, by half at times. Compare within a
  table, not across runs.
- Where *answered/s* stays below an open loop's rate, its latencies are a queue's, or the share of the asked rate is below 1, somebody
  was full: the relay, or CPU {rest}, which then makes the generator late, too.
- Two CPUs: two shards have nothing left for the load, so throughput at two shards says nothing; CPU for each request does.

## How to repeat it

```
scripts/compare                    # everything, five rounds: about {hours} hours
scripts/compare --only small,bulk  # some of it; the rest of the numbers stay
scripts/compare --quick            # one short round, written to a temporary folder
scripts/compare --render           # this document again from the numbers there are
```
"""


def write(data, loadtest, folder):
    """Writes the document, its charts and its numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    parts = [INTRO]
    parts.append("| | |\n|---|---|\n" + "\n".join(f"| {k} | {v} |" for k, v in data["versions"].items()))
    parts.append("## What had to be shown\n\nRatios are the median of the rounds' own ratios.\n\n"
                 + verdicts(data))
    small = [f"small-{n}" for n in (64, 256)]
    bulk = [cell for cell in data["cells"] if cell.startswith("bulk-")]
    charts = {
        "small-256": bars(data, loadtest, folder, "benchmarks-small", "CPU for a small request", small,
                          "us_per_request"),
        "bulk-tunnel-put": bars(data, loadtest, folder, "benchmarks-bulk", "CPU for a gigabyte",
                                bulk[:4], "cpu_seconds_per_gb"),
        "latency": latency_chart(data, loadtest, folder),
        f"rate-{users.RATES[-1]}": rate_chart(data, loadtest, folder),
    }
    parts.append("## Cells")
    for name, cell in data["cells"].items():
        parts.append(f"### {cell['title']}\n\n`{name}`, {cell['date']}, {cell['ringback']}, "
                     f"{max(map(len, cell['rounds'].values()), default=0)} rounds of {cell['seconds']} s\n\n"
                     + far_sides(cell) + cell_table(cell) + "\n" + charts.get(name, ""))
    parts.append(SETTING.format(relay=machine.RELAY_CPU, rest=machine.REST_CPU, hours=5))
    (folder / "benchmarks.md").write_text("\n\n".join(part.strip() for part in parts) + "\n")
