"""The clients: loops of curl, a page in a browser, a WebSocket application. Each goes on by itself, whatever happens.
"""

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

from .world import Failed, Program

HERE = Path(__file__).parent
# Longer than the relay lets anybody wait (--response-timeout), so that it is the relay that gives up.
PATIENCE = 90
SMALL_PAUSE, BULK_PAUSE = 0.4, 0.5
BODY_MAX, DEVICE_BODY_MAX = 2 << 20, 200_000
BODY_RATE = "2M"
# Of a device's requests so many are uploads.
UPLOADS = 0.2
CURL_ERRORS = {6: "no such host", 7: "refused", 18: "broken off", 28: "timed out", 52: "no answer", 55: "broken off",
               56: "reset"}


def content(seed, length):
    """The bytes that a seed stands for."""
    return hashlib.shake_128(seed.encode()).digest(length)


class Request:
    """What curl is to ask for, and what has to come of it: the body itself, or what a function finds wrong with it."""

    def __init__(self, path, *options, body=None, right=None, wrong=None):
        self.path, self.options, self.body = path, options, body
        self.right, self.wrong = right, wrong

    def fault(self, body, is_whole):
        """What is wrong with the body, or with the beginning of it."""
        if self.right is None:
            return self.wrong(body) if is_whole else None
        right = self.right if is_whole else self.right[:len(body)]
        if body == right:
            return None
        return f"{len(body)} of {len(self.right)} bytes, not those that were asked for: {body[:60]!r}"


class Curl:
    """A loop of requests, one at a time, each by a curl of its own."""

    def __init__(self, world, ledger, requests, pause):
        self.world, self.ledger, self.requests, self.pause = world, ledger, requests, pause
        self.stopped, self.process = threading.Event(), None
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        while not self.stopped.is_set():
            self.ask(next(self.requests))
            self.stopped.wait(self.pause)

    def ask(self, request):
        asked = time.time()
        # Parentheses and the like in a URL are not for curl to interpret.
        command = ["curl", "-q", "-gsS", "--noproxy", "*", "--max-time", PATIENCE, *request.options,
                   "-w", "\n%{http_code} %header{x-relay-error}", f"http://{self.world.address}{request.path}"]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, start_new_session=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        said, _ = self.process.communicate(request.body)
        if self.stopped.is_set():
            return
        body, _, tail = said.rpartition(b"\n")
        status, _, reason = tail.decode().partition(" ")
        code = self.process.returncode
        # None, or an interim one, if there was no response.
        if status >= "201":
            return self.ledger.refused(f"{status} {reason}".strip(), asked)
        fault = request.fault(body, code == 0) if status == "200" else None
        if fault:
            self.ledger.wrong(f"{request.path}: {fault}", asked)
        elif code:
            self.ledger.failed(CURL_ERRORS.get(code, f"curl's error {code}"), asked)
        else:
            self.ledger.right(asked)

    def lend_a_hand(self):
        """It asks anew all the time."""

    def stop(self):
        self.stopped.set()
        while self.thread.is_alive():
            if self.process:
                self.process.kill()
            self.thread.join(0.1)


def small_requests(domain):
    """A service's small answers."""
    number = 0
    while True:
        number += 1
        path = f"/{domain}/hello/{number}"
        yield Request(path, right=f"hello from {path}\n".encode())


def device_requests(domain, language, rng):
    """A device answers everything alike, but it has to get uploads out of its way."""
    number = 0
    while True:
        number += 1
        path = f"/{domain}/{number}"
        method, options, body = "GET", (), None
        if rng.random() < UPLOADS:
            method, body = "POST", content(path, rng.randint(1, DEVICE_BODY_MAX))
            options = ("--data-binary", "@-")
        yield Request(path, *options, body=body, wrong=of_device(language, f"{method} {path} HTTP/1.1"))


def of_device(language, line):
    right = f"hello from a device in {language}, {line}\n".encode()
    return lambda body: None if body == right else f"{body[:120]!r} instead of {right!r}"


def of_upload(name, sent):
    """What the service says of an upload: all of it came, and once."""
    right = {"id": name, "bytes": len(sent), "sha256": hashlib.sha256(sent).hexdigest(), "times": 1}

    def fault(body):
        try:
            said = json.loads(body)
        except ValueError:
            said = body[:120]
        return None if said == right else f"{said} instead of {right}"
    return fault


def bulk_requests(domain, rng):
    """Downloads, uploads and both at once, by length and in chunks, some of them slow."""
    number = 0
    while True:
        number += 1
        name = f"{domain}-{number}"
        length = rng.choice([rng.randint(1, 1000), rng.randint(1, BODY_MAX)])
        sent = content(name, length)
        slowly = ("--limit-rate", BODY_RATE) if rng.random() < 0.5 else ()
        by_length = ("--data-binary", "@-", "-H", "Content-Type: application/octet-stream")
        yield rng.choice([
            Request(f"/{domain}/bytes/{name}/{length}", *slowly, right=sent),
            Request(f"/{domain}/bytes/{name}/{length}?chunked", *slowly, right=sent),
            Request(f"/{domain}/seen/{name}", *slowly, *by_length, body=sent, wrong=of_upload(name, sent)),
            Request(f"/{domain}/seen/{name}", *slowly, "-T", "-", body=sent, wrong=of_upload(name, sent)),
            Request(f"/{domain}/echo", *slowly, "-X", "POST", "-T", "-", body=sent, right=sent)])


class Told:
    """A client in another language, which writes a line for everything that happens to it."""

    def __init__(self, ledger, program):
        self.ledger, self.program = ledger, program
        self.stopped = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.program.process.stdout:
            if self.stopped:
                return
            with contextlib.suppress(ValueError):
                self.enter(*json.loads(line))

    def enter(self, what, *more):
        if what == "right":
            self.ledger.right(more[0] / 1000, more[1] / 1000)
        elif what == "refused":
            self.ledger.refused(more[0], time.time())
        elif what == "wrong":
            self.ledger.wrong(more[0], more[1] / 1000)
        elif what == "failed":
            self.ledger.failed(more[0], time.time())
        elif what == "dead":
            self.ledger.is_dead = True

    def stop(self):
        self.stopped = True
        self.program.kill()
        self.thread.join()


class Socket(Told):
    """The WebSocket application."""

    def __init__(self, world, ledger, domain, node_environment):
        url = f"ws://{world.address}/{domain}/socket"
        self.run = lambda: Program(world, "WebSocket client", ["node", HERE / "socket.js", url], env=node_environment,
                                   stdout=subprocess.PIPE)
        super().__init__(ledger, self.run())

    def lend_a_hand(self):
        """What nobody should have to do: it is started anew."""
        self.ledger.hands += 1
        super().stop()
        super().__init__(self.ledger, self.run())


class Page(Told):
    """A page with an EventSource in a headless Chromium."""

    def __init__(self, world, ledger, domain, node_environment):
        self.browser = Program(world, "chromium", [
            chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
            f"--user-data-dir={world.folder / 'profile'}", "--remote-debugging-port=0", "about:blank"])
        debugger = self.browser.wait_line(re.compile(r"DevTools listening on ws://([^/]+)/"))[1]
        url = f"http://{world.address}/{domain}/"
        program = Program(world, "who watches the page", ["node", HERE / "page.js", f"http://{debugger}", url],
                          env=node_environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        super().__init__(ledger, program)

    def lend_a_hand(self):
        """What nobody should have to do: the page is opened anew."""
        self.ledger.hands += 1
        self.program.process.stdin.write(b"again\n")
        self.program.process.stdin.flush()

    def stop(self):
        super().stop()
        self.browser.kill()


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    raise Failed("no Chromium is installed; CI_BROWSER=1 scripts/test installs it")
