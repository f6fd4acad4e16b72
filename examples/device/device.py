"""A device behind a firewall, reachable through a relay: python3 device.py HOST PORT DOMAIN

It dials out, waits, answers one request a connection, and needs nothing but the standard library.
"""
import contextlib
import random
import select
import socket
import sys
import threading
import time

CONNECTIONS = 2  # while one serves a client, another waits for the next
SILENCE = 75  # seconds: a relay that is there says something every 70
LINGER, LEFTOVER = 2, 1 << 20  # seconds and bytes that a client may go on sending after its answer
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10  # seconds between attempts that fail


def read_head(incoming):
    """Reads up to the blank line; returns the first line and the length of the body."""
    lines, length = [], 0
    while not lines or lines[-1]:
        line = incoming.readline(65536)
        if not line.endswith(b"\n"):
            raise ConnectionError("the relay ended the connection")
        lines.append(line.decode("latin-1").strip())
        if lines[-1].lower().startswith("content-length:"):
            length = int(lines[-1][15:])
    return lines[0], length


def answer(relay, incoming):
    request, left = read_head(incoming)
    while left > 0:
        data = incoming.read1(min(left, 65536))
        if not data:
            raise ConnectionError("the client left in the middle of its request")
        left -= len(data)
    body = f"hello from a device in Python, {request}\n"
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    relay.sendall((head if request.startswith("HEAD ") else head + body).encode("latin-1"))


def finish(relay):
    """Ends a connection. Closed while there is unread input it would be reset, and the answer could be lost."""
    left, until = LEFTOVER, time.monotonic() + LINGER
    with contextlib.suppress(OSError):
        relay.shutdown(socket.SHUT_WR)
        while left > 0 and select.select([relay], [], [], max(0, until - time.monotonic()))[0]:
            data = relay.recv(65536)
            left = left - len(data) if data else 0


def keep_serving(host, port, domain):
    registration = f"POST /{domain} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: {host}\r\n\r\n"
    pause = FIRST_PAUSE
    while True:
        try:
            with socket.create_connection((host, port), SILENCE) as relay, relay.makefile("rb") as incoming:
                status = "204"
                while status == "204":  # nobody came: ask again
                    relay.sendall(registration.encode())
                    status = read_head(incoming)[0][9:12]
                    if status not in ("101", "204"):
                        raise ConnectionError(f"the relay answered {status}")
                    pause = FIRST_PAUSE
                answer(relay, incoming)
                finish(relay)
        except (OSError, ValueError) as error:
            wait = pause * random.uniform(0.5, 1)  # or all devices would be back at once when the relay is
            print(f"{error}; trying again in {wait:.3f} s", file=sys.stderr, flush=True)
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


for _ in range(CONNECTIONS - 1):
    threading.Thread(target=keep_serving, args=sys.argv[1:4], daemon=True).start()
keep_serving(*sys.argv[1:4])
