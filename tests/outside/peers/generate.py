"""Requests and responses, most of them with one or two oddities: valid ones, doubtful ones, malformed ones.

The same seed gives the same messages. What stands in a body is itself a message, so that a reader that ends a body in the
wrong place says so by answering it, or by taking it for an answer.
"""
import random
from dataclasses import dataclass, field

HOST = b"relay.test"
# Oddities with which what follows a head is certainly its body.
BODY_IS_BODY = {"length", "chunked", "chunk-extension", "chunk-upper", "chunk-zeros", "trailers"}


@dataclass
class Case:
    number: int
    domain: str
    method: bytes
    raw: bytes
    # The names of what is odd about it.
    odd: tuple = ()
    # Whether what follows the head is its body beyond doubt.
    has_body: bool = False
    # Of responses: whether the gateway closes behind it at once; what the client's request looks like.
    closes: bool = False
    request: bytes = b""
    tags: set = field(default_factory=set)

    @property
    def label(self):
        return "+".join(self.odd) or "plain"


def marker_request(domain, number):
    return b"GET /%s/marker-%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (domain.encode(), number, HOST)


def marker_response(number):
    body = b"marker-%d" % number
    return b"HTTP/1.1 200 OK\r\nX-Marker: %s\r\nContent-Length: %d\r\n\r\n%s" % (body, len(body), body)


def chunks(rng, body, odd=""):
    """`body` in chunked coding, with one oddity."""
    at = sorted({0, len(body), *(rng.randrange(1, len(body)) for _ in range(rng.randrange(3)))})
    out = b""
    end = b"\n" if odd == "chunk-bare-lf" else b"\r\n"
    for first, last in zip(at, at[1:]):
        part = body[first:last]
        size = b"%x" % len(part)
        size = {
            "chunk-upper": size.upper(), "chunk-zeros": b"000" + size, "chunk-0x": b"0x" + size,
            "chunk-plus": b"+" + size, "chunk-space": size + b" ", "chunk-space-before": b" " + size,
            "chunk-extension": size + b";a=b", "chunk-extension-quoted": size + b';a="x;\\"y"',
            "chunk-extension-spaces": size + b" ; a = b", "chunk-extension-empty": size + b";",
            "chunk-extension-lf": size + b";a\nb", "chunk-extension-cr": size + b";a\rb",
            "chunk-extension-odd": size + b";\x01=\x80", "chunk-overflow": b"1" + b"0" * 15 + size.rjust(16, b"0"),
        }.get(odd, size)
        data_end = {"chunk-long": b"xx\r\n", "chunk-no-end": b""}.get(odd, end)
        out += size + end + part + data_end
    out += {"chunk-last-zeros": b"000", "chunk-last-extension": b"0;x=y"}.get(odd, b"0") + end
    out += {
        "trailers": b"X-Sum: 1\r\n", "trailer-length": b"Content-Length: 3\r\n", "trailer-coding": b"Transfer-Encoding: gzip\r\n",
        "trailer-host": b"Host: other.test\r\n", "trailer-space": b"X-Sum : 1\r\n", "trailer-bad": b"nonsense\r\n",
        "trailer-fold": b"X-Sum: 1\r\n 2\r\n", "trailer-bare-lf": b"X-Sum: 1\nX-Other: 2\r\n",
    }.get(odd, b"")
    return out + end


LENGTHS = {
    "length": b"%d", "length-list": b"%d, %d", "length-list-tight": b"%d,%d", "length-plus": b"+%d",
    "length-zeros": b"00%d", "length-spaces": b"  %d \t", "length-0x": b"0x%x", "length-minus": b"-%d",
    "length-empty": b"", "length-huge": b"99999999999999999999%d", "length-2-63": b"9223372036854775808",
    "length-2-31": b"2147483648", "length-suffix": b"%d bytes", "length-point": b"%d.0", "length-semicolon": b"%d;",
    "length-vt": b"\x0b%d", "length-underscore": b"1_%d", "length-quoted": b'"%d"', "length-list-empty": b"%d,",
    "length-latin": b"%d\xa0",
}
CODINGS = {
    "coding-case": b"Chunked", "coding-twice": b"chunked, chunked", "coding-gzip": b"gzip, chunked",
    "coding-before-gzip": b"chunked, gzip", "coding-identity": b"identity", "coding-x": b"xchunked",
    "coding-tab": b"\tchunked", "coding-vt": b"\x0bchunked", "coding-parameter": b"chunked;q=1",
    "coding-quoted": b'"chunked"', "coding-empty": b"", "coding-comma": b", chunked", "coding-comma-behind": b"chunked,",
    "coding-unknown": b"foo, chunked", "coding-identity-first": b"identity, chunked", "coding-open": b"\"foo, chunked",
    "coding-space": b"chunked foo", "coding-latin": b"chunked\xa0", "coding-gzip-only": b"gzip",
}
LAYOUTS = {
    "coding-space-before-colon": b"Transfer-Encoding : chunked\r\n",
    "coding-fold": b"Transfer-Encoding:\r\n chunked\r\n",
    "coding-underscore": b"Transfer_Encoding: chunked\r\n",
    "coding-bare-lf": b"X-Y: z\nTransfer-Encoding: chunked\r\n",
    "coding-bare-cr": b"X-Y: z\rTransfer-Encoding: chunked\r\n",
    "coding-two-lines": b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    "coding-two-lines-turned": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "coding-space-first": b" Transfer-Encoding: chunked\r\n",
    "coding-nul": b"Transfer-Encoding: chunked\0\r\n",
}
CHUNKS = (
    "chunked", "chunk-upper", "chunk-zeros", "chunk-0x", "chunk-plus", "chunk-space", "chunk-space-before",
    "chunk-extension", "chunk-extension-quoted", "chunk-extension-spaces", "chunk-extension-empty", "chunk-extension-lf",
    "chunk-extension-cr", "chunk-extension-odd", "chunk-overflow", "chunk-long", "chunk-no-end", "chunk-bare-lf",
    "chunk-last-zeros", "chunk-last-extension", "trailers", "trailer-length", "trailer-coding", "trailer-host",
    "trailer-space", "trailer-bad", "trailer-fold", "trailer-bare-lf",
)
BOTH = ("length-and-coding", "coding-and-length", "length-twice", "lengths-differ", "length-zero-and-length",
        "length-space-before-colon", "length-fold", "length-bare-lf", "length-connection", "coding-connection")


def framings():
    """Every framing there is, those that are plain more often."""
    return [*LENGTHS, *CODINGS, *LAYOUTS, *CHUNKS, *BOTH, *["length", "chunked"] * 8]


def framed(rng, odd, body):
    """Header lines and the bytes behind the head."""
    length = len(body)
    plain = b"Content-Length: %d\r\n" % length
    if odd in LENGTHS:
        form = LENGTHS[odd]
        count = form.count(b"%")
        return b"Content-Length: " + (form % ((length,) * count) if count else form) + b"\r\n", body
    if odd in CODINGS:
        return b"Transfer-Encoding: " + CODINGS[odd] + b"\r\n", chunks(rng, body)
    if odd in LAYOUTS:
        return LAYOUTS[odd], chunks(rng, body)
    if odd in CHUNKS:
        return b"Transfer-Encoding: chunked\r\n", chunks(rng, body, odd)
    coded = chunks(rng, body)
    return {
        "length-and-coding": (plain + b"Transfer-Encoding: chunked\r\n", coded),
        "coding-and-length": (b"Transfer-Encoding: chunked\r\n" + b"Content-Length: %d\r\n" % len(coded), coded),
        "length-twice": (plain + plain, body),
        "lengths-differ": (plain + b"Content-Length: %d\r\n" % (length + 1), body),
        "length-zero-and-length": (b"Content-Length: 0\r\n" + plain, body),
        "length-space-before-colon": (b"Content-Length : %d\r\n" % length, body),
        "length-fold": (b"Content-Length:\r\n %d\r\n" % length, body),
        "length-bare-lf": (b"X-Y: z\n" + plain, body),
        "length-connection": (b"Connection: Content-Length\r\n" + plain, body),
        "coding-connection": (b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", coded),
    }[odd]


TARGETS = {
    "absolute": b"http://relay.test%s", "absolute-other": b"http://other.test%s", "absolute-tls": b"https://relay.test%s",
    "absolute-upper": b"HTTP://relay.test%s", "absolute-user": b"http://u@relay.test%s", "target-latin": b"%s/\xe9",
    "target-quotes": b"%s/\"<>\\^`{|}", "target-slashes": b"%s//x", "target-fragment": b"%s#x", "target-tab": b"%s\tx",
    "target-space": b"%s x", "target-percent": b"%s%%2f%%00", "target-semicolon": b"%s;x?y=z&%%",
}
VERSIONS = {
    "version-10": b"HTTP/1.0", "version-2": b"HTTP/2.0", "version-lower": b"http/1.1", "version-12": b"HTTP/1.2",
    "version-space": b"HTTP/1.1 ", "version-none": b"", "version-long": b"HTTP/1.10",
}
HOSTS = {
    "host-empty": b"Host: \r\n", "host-none": b"", "host-twice": b"Host: relay.test\r\nHost: relay.test\r\n",
    "host-other-twice": b"Host: relay.test\r\nHost: other.test\r\n", "host-user": b"Host: u@relay.test\r\n",
    "host-port": b"Host: relay.test:8080\r\n", "host-port-odd": b"Host: relay.test:\r\n", "host-list": b"Host: relay.test, other.test\r\n",
    "host-space": b"Host: relay test\r\n", "host-path": b"Host: relay.test/x\r\n", "host-v6": b"Host: [::1]:80\r\n",
    "host-fold": b"Host:\r\n relay.test\r\n",
}
EXTRAS = {
    "close": b"Connection: close\r\n", "keep-alive": b"Connection: keep-alive\r\n", "close-list": b"Connection: x-y, close\r\nX-Y: z\r\n",
    "hop-by-hop": b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n",
    "connection-host": b"Connection: Host, X-Forwarded-For\r\n", "expect": b"Expect: 100-continue\r\n", "expect-odd": b"Expect: x\r\n",
    "upgrade": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "upgrade-alone": b"Upgrade: websocket\r\n", "upgrade-h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "fold": b"X-Y: a\r\n b\r\n", "bare-lf": b"X-Y: a\nX-Z: b\r\n", "bare-cr": b"X-Y: a\rX-Z: b\r\n", "nul": b"X-Y: a\0b\r\n",
    "value-latin": b"X-Y: \xe9\xff\r\n", "value-control": b"X-Y: a\x0bb\x0c\r\n", "value-empty": b"X-Y:\r\n", "name-odd": b"X!#$%&'*+.^_`|~-Y: z\r\n",
    "name-space": b"X Y: z\r\n", "name-empty": b": z\r\n", "no-colon": b"nonsense\r\n", "space-before-colon": b"X-Y : z\r\n",
    "trailer-announced": b"Trailer: X-Sum\r\n", "forwarded": b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n", "many": b"X-Y: z\r\n" * 40,
}
BEFORE = {"empty-line": b"\r\n", "empty-lines": b"\r\n\r\n\r\n", "empty-line-lf": b"\n", "empty-cr": b"\r"}
METHODS = [b"GET", b"POST", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"HEAD", b"M-SEARCH", b"get"]


REQUEST_PARTS = {"framing": framings(), "target": TARGETS, "version": VERSIONS, "host": HOSTS, "extra": EXTRAS, "before": BEFORE,
                 "connect": ["connect"]}


def oddities(rng, number, parts):
    """What is odd about a message, by its parts. The first messages go through all oddities there are, some with another
    one besides; those behind them have none, one or two."""
    every = [(part, name) for part, names in parts.items() for name in sorted(set(names))]
    chosen = {}
    if number < len(every):
        part, name = every[number]
        chosen[part] = name
        more = rng.choice([0, 0, 0, 1])
    else:
        more = rng.choice([0, 1, 1, 1, 2, 2])
    for _ in range(more):
        part = rng.choice(["framing", rng.choice(list(parts))])
        chosen.setdefault(part, rng.choice(sorted(parts[part])))
    return chosen


def request(seed, number, domain):
    rng = random.Random(f"request {seed} {number}")
    odd = oddities(rng, number, REQUEST_PARTS)
    body = b"GET /%s/smuggled-%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (domain.encode(), number, HOST)
    method = rng.choice(METHODS)
    target = TARGETS.get(odd.get("target"), b"%s") % (b"/%s/case-%d" % (domain.encode(), number))
    if "connect" in odd:
        method, target = b"CONNECT", rng.choice([b"/%s", b"%s.relay.test:22", b"/%s:22"]) % domain.encode()
    version = VERSIONS.get(odd.get("version"), b"HTTP/1.1")
    framing = odd.get("framing") or rng.choice(["none", "length", "chunked"])
    lines, behind = (b"", b"") if framing == "none" else framed(rng, framing, body)
    headers = [HOSTS.get(odd.get("host"), b"Host: %s\r\n" % HOST), lines, EXTRAS.get(odd.get("extra"), b"")]
    rng.shuffle(headers)
    line = b" ".join(word for word in (method, target, version) if word)
    raw = BEFORE.get(odd.get("before"), b"") + line + b"\r\n" + b"".join(headers) + b"\r\n" + behind
    names = tuple(sorted({*odd.values(), framing} - {"none"}))
    plain = framing in BODY_IS_BODY and set(names) <= BODY_IS_BODY | {"close", "keep-alive", "expect"}
    return Case(number, domain, method, raw, names, has_body=plain)


STATUSES = {
    "status-bare": b"HTTP/1.1 200", "status-space": b"HTTP/1.1 200 ", "status-10": b"HTTP/1.0 200 OK", "status-2": b"HTTP/2.0 200 OK",
    "status-four-digits": b"HTTP/1.1 0200 OK", "status-600": b"HTTP/1.1 600 Odd", "status-999": b"HTTP/1.1 999 Odd",
    "status-lower": b"http/1.1 200 ok", "status-tab": b"HTTP/1.1\t200\tOK", "status-icy": b"ICY 200 OK", "status-two-spaces": b"HTTP/1.1  200 OK",
    "status-204": b"HTTP/1.1 204 No Content", "status-304": b"HTTP/1.1 304 Not Modified", "status-205": b"HTTP/1.1 205 Reset Content",
    "status-404": b"HTTP/1.1 404 Not Found", "status-101": b"HTTP/1.1 101 Switching Protocols", "status-099": b"HTTP/1.1 099 Odd",
    "status-latin": b"HTTP/1.1 200 \xe9", "status-12": b"HTTP/1.2 200 OK", "status-words": b"hello", "status-bare-cr": b"HTTP/1.1 200 OK\r",
    "status-1": b"HTTP/1 200 OK", "status-minus": b"HTTP/1.1 -200 OK",
}
INTERIMS = {
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "interim-length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 70\r\n\r\n",
    "interim-length-0": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n",
    "interim-chunked": b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n", "interim-100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "interim-close": b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n", "interim-100-length": b"HTTP/1.1 100 Continue\r\nContent-Length: 70\r\n\r\n",
    "interim-many": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3, "interim-10": b"HTTP/1.0 100 Continue\r\n\r\n",
}
RESPONSE_EXTRAS = {
    name: EXTRAS[name] for name in ("close", "keep-alive", "close-list", "hop-by-hop", "upgrade-alone", "fold", "bare-lf", "bare-cr", "nul", "value-latin",
                                    "value-control", "value-empty", "name-space", "name-empty", "no-colon", "space-before-colon", "many")
} | {"cookies": b"Set-Cookie: a=%s\r\n" % (b"x" * 900) * 8, "connection-length": b"Connection: Content-Length\r\n"}
ASKED = {"head": b"HEAD", "post": b"POST"}


RESPONSE_PARTS = {"framing": [*framings(), "until-close"], "status": STATUSES, "interim": INTERIMS, "extra": RESPONSE_EXTRAS,
                  "before": BEFORE, "method": ASKED, "version": ["asked-in-10"], "line-ends": ["head-bare-lf"]}


def response(seed, number, domain):
    rng = random.Random(f"response {seed} {number}")
    odd = oddities(rng, number, RESPONSE_PARTS)
    body = b"HTTP/1.1 200 OK\r\nX-Marker: smuggled\r\nContent-Length: 8\r\n\r\nsmuggled"
    interim = INTERIMS.get(odd.get("interim"), b"")
    method = ASKED.get(odd.get("method"), b"GET")
    framing = odd.get("framing") or rng.choice(["length", "length", "chunked", "until-close"])
    lines, behind = (b"", body) if framing == "until-close" else framed(rng, framing, body)
    if method == b"HEAD":
        behind = b""
    headers = [lines, RESPONSE_EXTRAS.get(odd.get("extra"), b""), b"X-Case: %d\r\n" % number]
    rng.shuffle(headers)
    head = STATUSES.get(odd.get("status"), b"HTTP/1.1 200 OK") + b"\r\n" + b"".join(headers) + b"\r\n"
    if "line-ends" in odd:
        head = head.replace(b"\r\n", b"\n")
    asked = b"%s /%s/case-%d HTTP/%s\r\nHost: %s\r\n" % (
        method, domain.encode(), number, b"1.0" if "version" in odd else b"1.1", HOST)
    asked += b"Connection: keep-alive\r\n" * ("version" in odd) + b"Content-Length: 0\r\n" * (method == b"POST") + b"\r\n"
    names = tuple(sorted({*odd.values(), framing}))
    tags = {"close-list"} & set(names) | ({"interim"} if interim else set())
    return Case(number, domain, method, BEFORE.get(odd.get("before"), b"") + interim + head + behind, names,
                closes=rng.random() < 0.3, request=asked, tags=tags)
