"""Heads and bodies as the standard has them: what this test itself reads messages with."""
import re

HEAD_END = re.compile(rb"\r?\n\r?\n")
# The registered transfer codings but chunked: RFC 9112 section 7.2.
COMPRESSIONS = {b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"}
EMPTY_LINES = re.compile(rb"(?:\r?\n)*")


def head_of(data):
    """Start line, header fields and the length of a head; None when it is not all there. Lenient about line ends."""
    skipped = EMPTY_LINES.match(data).end()
    end = HEAD_END.search(data, skipped)
    if not end:
        return None
    lines = re.split(rb"\r?\n", data[skipped:end.start()])
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            fields.append((name.strip().lower(), value.strip(b" \t")))
    return lines[0], fields, end.end()


def values(fields, name):
    return [value for field, value in fields if field == name]


def dechunked(data):
    """The body in chunked coding and how many bytes it took; None when there is more to come. Raises ValueError."""
    body, at = b"", 0
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return None
        size = re.fullmatch(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;.*)?\r?", data[at:end], re.DOTALL)
        if not size:
            raise ValueError(f"no chunk size: {data[at:end]!r}")
        length, at = int(size[1], 16), end + 1
        if length == 0:
            break
        if len(data) < at + length + 1:
            return None
        body += data[at:at + length]
        line_end = re.match(rb"\r?\n", data[at + length:at + length + 2])
        if not line_end:
            if len(data) < at + length + 2:
                return None
            raise ValueError("a chunk is longer than it says")
        at += length + line_end.end()
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return None
        line, at = data[at:end + 1], end + 1
        if line in (b"\r\n", b"\n"):
            return body, at


def request_end(data):
    """Where the request at the beginning of `data` ends; None when it is not all there. Raises ValueError."""
    head = head_of(data)
    if not head:
        return None
    _, fields, at = head
    if values(fields, b"transfer-encoding"):
        found = dechunked(data[at:])
        return found and at + found[1]
    lengths = values(fields, b"content-length")
    length = re.match(rb"\d+", lengths[0]) if lengths else None
    length = int(length[0]) if length else 0
    return at + length if len(data) >= at + length else None


def body_length(message):
    """How long the body of a captured request is, as the relay has framed it; None when its head and what came behind
    it do not fit."""
    head = head_of(message)
    if not head:
        return None
    _, fields, at = head
    behind = message[at:]
    if not values(fields, b"transfer-encoding"):
        return len(behind)
    try:
        found = dechunked(behind)
    except ValueError:
        return None
    return len(found[0]) if found and found[1] == len(behind) else None


def final_response(data, head_only):
    """Status, fields and body of a captured response behind its interim ones, as the standard reads it; None when it is
    no HTTP response in good order."""
    while True:
        line = re.match(rb"HTTP/1\.[01] ([1-9]\d\d)(?: [^\r\n]*)?\r\n", data)
        end = data.find(b"\r\n\r\n")
        if not line or end < 0:
            return None
        status = int(line[1])
        fields = []
        for field in data[line.end():end + 2].split(b"\r\n")[:-1]:
            found = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*", field)
            if not found:
                return None
            fields.append((found[1].lower(), found[2]))
        data = data[end + 4:]
        if status >= 200 or status == 101:
            break
    codings, lengths = values(fields, b"transfer-encoding"), values(fields, b"content-length")
    if head_only or status in (101, 204, 304):
        body = b""
    elif codings:
        names = [name.strip(b" \t") for name in b",".join(codings).lower().split(b",")]
        if lengths or not set(names[:-1]) <= COMPRESSIONS or names[-1] not in COMPRESSIONS | {b"chunked"}:
            return None
        if names[-1] != b"chunked":
            # RFC 9112 section 6.3: up to the end.
            return status, fields, data
        try:
            found = dechunked(data)
        except ValueError:
            return None
        if not found:
            return None
        body = found[0]
    elif lengths:
        if len(lengths) > 1 or not lengths[0].isdigit() or len(data) < int(lengths[0]):
            return None
        body = data[:int(lengths[0])]
    else:
        body = data
    return status, fields, body
