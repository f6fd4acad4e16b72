#!/usr/bin/env python3
"""Runs the commands of README.md: every line of its ```sh blocks, in order, as they stand.

A command that goes on until it is told to stop (the demo, a relay, a gateway, a tunnel that listens) is started in
the background and waited for until it says that it is ready; at the end of its section it gets SIGTERM and must end
with exit code 0. `curl -N` is given three seconds to show something. All others must end with exit code 0 in time,
curl with an answer. `scripts/test` is left to the caller. What `cargo install` installs goes to a directory of
this script's own. Should somebody else have one of the README's ports, a free one stands in for it, and that is said.
"""
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What stays in the foreground, and what it says when it is ready.
SERVERS = {
    r"^ringback relay": r"listens on",
    r"^ringback gateway": r"connected to the relay",
    r"^ringback tunnel .*--listen": r"\d+\.\d+\.\d+\.\d+:\d+",
    r"^cargo run --release -- demo": r"in a browser[\s\S]*connected to the relay",
    r"^python3 -m http\.server": r"Serving HTTP",
    r"^python3 examples/device/device.py": r"",
}
DEMO_PORT = "8080"
BUILD_SECONDS = 600
COMMAND_SECONDS = 60


def sections(text):
    """The commands of each second-level section."""
    for section in re.split(r"(?m)^(?=## )", text):
        commands = []
        for block in re.findall(r"(?ms)^```sh\n(.*?)^```", section):
            block = block.replace("\\\n", "")
            lines = [re.sub(r"\s+#\s.*", "", line).strip() for line in block.splitlines()]
            commands += [line for line in lines if line and not line.startswith("#")]
        if commands:
            yield section.splitlines()[0], commands


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) != 0


def with_free_ports(text):
    """The README with a free port for each of its own that somebody else has."""
    for port in sorted(set(re.findall(r"\b(?:127\.0\.0\.1[: ]|http\.server .*)(\d{4,5})\b", text))):
        if is_free(port):
            continue
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = str(probe.getsockname()[1])
        print(f"note     port {port} is somebody else's: {free} stands in for it", flush=True)
        text = text.replace(port, free)
        if port == DEMO_PORT:
            text = text.replace("-- demo", f"-- demo --listen 127.0.0.1:{free}")
    return text


class Server:
    def __init__(self, command, ready):
        self.command = command
        self.log = tempfile.NamedTemporaryFile(prefix="ringback-readme-")
        self.process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=ROOT, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=subprocess.STDOUT)
        until = time.monotonic() + BUILD_SECONDS
        while not re.search(ready, self.said()):
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"is not ready: {self.said()}")
            time.sleep(0.1)
        # The devices say nothing when they are ready.
        time.sleep(0.5 if ready else 3)

    def said(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()

    def end(self):
        if self.process.poll() is not None:
            raise AssertionError(f"ended by itself with {self.process.returncode}: {self.said()}")
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within 20 s of SIGTERM: {self.said()}") from None
        ours = "ringback" in self.command or "cargo run" in self.command
        if ours and code != 0:
            raise AssertionError(f"ended with {code}: {self.said()}")


def endless(command):
    """A stream: something must come, and it must go on."""
    with subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        time.sleep(3)
        goes_on = process.poll() is None
        process.terminate()
        said = process.stdout.read().decode()
    if not goes_on or not said:
        raise AssertionError(f"{'goes on' if goes_on else 'ended'}, said: {said}")
    return said


def once(command):
    limit = BUILD_SECONDS if "cargo" in command else COMMAND_SECONDS
    if command.startswith("curl "):
        command = command.replace("curl ", "curl --fail-with-body ", 1)
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=limit)
    said = done.stdout.decode(errors="replace")
    if done.returncode != 0 or (command.startswith("curl ") and not said):
        raise AssertionError(f"ended with {done.returncode}: {said[-4000:]}")
    return said


def main():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = with_free_ports(file.read())
    installed = tempfile.TemporaryDirectory(prefix="ringback-readme-")
    os.environ["CARGO_INSTALL_ROOT"] = installed.name
    os.environ["PATH"] = os.path.join(installed.name, "bin") + os.pathsep + os.environ["PATH"]
    os.environ["PYTHONUNBUFFERED"] = "1"
    passed = failed = 0
    for title, commands in sections(text):
        servers = []
        for command in commands:
            if command == "scripts/test":
                continue
            ready = next((ready for which, ready in SERVERS.items() if re.search(which, command)), None)
            began = time.monotonic()
            try:
                if ready is not None:
                    servers.append(Server(command, ready))
                elif shlex.split(command)[:2] == ["curl", "-N"]:
                    endless(command)
                else:
                    once(command)
                passed += 1
                print(f"passed   README {command} ({time.monotonic() - began:.0f} s)", flush=True)
            except (AssertionError, subprocess.TimeoutExpired) as failure:
                failed += 1
                print(f"{failure}\nFAILED   README, section {title!r}: {command}", flush=True)
        for server in reversed(servers):
            try:
                server.end()
            except AssertionError as failure:
                failed += 1
                print(f"FAILED   README, section {title!r}: {server.command}: {failure}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


sys.exit(main())
