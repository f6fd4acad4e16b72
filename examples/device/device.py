"""A device behind a firewall, reachable through a relay: python3 device.py HOST PORT DOMAIN

It dials out, waits, answers one request a connection, and needs nothing but the standard library.
"""
import socket
import sys
import time


def head(device):
    """Reads up to and including a blank line; what follows stays in the connection."""
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        byte = device.recv(1)
        if not byte:
            raise ConnectionError("the relay closed the connection")
        text += byte
    return text.decode("latin-1")


def serve_one(host, port, domain):
    with socket.create_connection((host, port), timeout=75) as device:
        register = f"POST /{domain} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: {host}\r\n\r\n"
        status = "204"
        while status == "204":  # nobody came: ask again
            device.sendall(register.encode())
            status = head(device)[9:12]
        if status != "101":
            raise ConnectionError(f"the relay answered {status}")
        request = head(device).split("\r\n")
        length = next((int(line[15:]) for line in request if line.lower().startswith("content-length:")), 0)
        while length > 0:
            length -= len(device.recv(min(length, 4096)))
        body = f"hello from a device in Python, {request[0]}\n".encode()
        device.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


while True:
    try:
        serve_one(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    except OSError as error:
        print(f"{error}; trying again", file=sys.stderr)
        time.sleep(1)
