"""What an idle connection costs: resident memory of the relay, and objects of the kernel."""

import contextlib
import socket
import sys

from . import contenders as who
from . import machine
from .cells import PARKED, Failed
from .machine import Program, rss, slab


def settled(read, seconds=5):
    """A value once it has stopped moving."""
    last = read()
    for _ in range(seconds * 2):
        machine.time.sleep(0.5)
        now = read()
        if now == last:
            break
        last = now
    return last


def hold(port):
    """A relay that only holds: takes registrations, answers 101, and never touches them again.

    What the kernel needs beyond it for the real relay is what the real relay waits with.
    """
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    said = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ptth\r\n"
            b"ALPN: http%2F1.1\r\n\r\n")
    held = []
    while True:
        connection, _ = listener.accept()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = connection.recv(4096)
            if not part:
                break
            head += part
        if b"upgrade: ptth\r\n" in head.lower():
            connection.sendall(said)
        held.append(connection.detach())


def kernel_objects():
    """Bytes of the kernel's objects in use, by cache, once they are still."""
    machine.run("sync")
    return settled(slab)


def growth(before, without=()):
    """Bytes that have been added since."""
    now = kernel_objects()
    return sum(size - before.get(cache, 0) for cache, size in now.items() if cache not in without)


# The ports that the gateways dial from lie in the same cache as what epoll waits with (the kernel merges caches of one
# size), and how many ports share an object differs from one fleet to the next. Neither relay here uses epoll.
PORTS_CACHE = ("eventpoll_epi",)


def parked(bench, _contender, _seconds, gateways=PARKED):
    """Parked gateways, each in its own domain: first at a relay that only holds them, then at ours."""
    with contextlib.ExitStack() as stack:
        port = machine.free_port()
        command = [sys.executable, "-c",
                   f"import sys; sys.path.insert(0, {str(machine.ROOT / 'loadtest')!r}); "
                   f"from bench.density import hold; hold({port})"]
        program = Program(command, 0)
        stack.callback(program.stop)
        program.wait_port(port)
        before = kernel_objects()
        bench.fleet(stack, f"127.0.0.1:{port}", "ptth", gateways)
        held, held_sockets = growth(before), growth(before, PORTS_CACHE)
    machine.time.sleep(2)
    with contextlib.ExitStack() as stack:
        setup = bench.relay(stack)
        # The first gateways bring in what is paid for once.
        bench.fleet(stack, setup.target, "ptth", 100, offset=gateways)
        before, resident = kernel_objects(), rss(setup.pid)
        bench.fleet(stack, setup.target, "ptth", gateways)
        machine.time.sleep(2)
        user = rss(setup.pid) - resident
        ours, ours_sockets = growth(before), growth(before, PORTS_CACHE)
    return {"user_bytes": user / gateways, "kernel_bytes": ours / gateways,
            "kernel_bytes_only_held": held / gateways,
            "kernel_bytes_beyond_socket": (ours_sockets - held_sockets) / gateways}


def idle_clients(bench, contender, _seconds, clients=PARKED):
    """Kept-alive clients that have asked once and now keep silent."""
    if not isinstance(contender, who.Ringback):
        # They open a connection to the origin for each client that asks, and have no more open files than we.
        clients //= 3
    with contender.running(bench, gateways=64) as setup:
        command = [bench.loadtest, "load", "--workload", "idle", "--target", setup.target,
                   "--domains", 64, "--source", f"127.0.{machine.fresh_net()}.1", "--seconds", 6]
        warm = Program(command[:-1] + [1, "--connections", 100])
        warm.process.wait(60)
        warm.stop()
        before, resident = kernel_objects(), rss(setup.pid)
        program = Program(command + ["--connections", clients], stdout=machine.subprocess.PIPE)
        try:
            program.wait_line("idle", 60)
            machine.time.sleep(2)
            user, kernel = rss(setup.pid) - resident, growth(before)
            told = program.process.communicate(timeout=90)[0]
        finally:
            program.stop()
    errors = next((line.split()[1] for line in told.splitlines() if line.startswith("errors")), "?")
    if errors != "0":
        raise Failed(f"{errors} of {clients} clients were not kept")
    return {"user_bytes": user / clients, "kernel_bytes_both_ends": kernel / clients,
            "clients": clients}


WORKLOAD = {
    "idle-gateways": (f"{PARKED} parked gateways in {PARKED} domains", parked, (who.PTTH,)),
    "idle-clients": (f"{PARKED} idle kept-alive clients", idle_clients,
                     (who.PTTH, who.PIPE, who.NGINX, who.HAPROXY)),
}
