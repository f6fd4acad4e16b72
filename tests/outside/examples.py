"""The example devices in Python, JavaScript and C: each serves requests with and without a body, asks again after a
204, and comes back when the relay was away."""
import os
import time

import harness
from harness import ROOT, Relay, eventually, main, need, run, start

EXAMPLES = os.path.join(ROOT, "examples", "device")


def devices(relay):
    """Command and name of each example."""
    compiled = os.path.join(harness.directory, "device")
    run(need("cc"), "-Wall", "-Wextra", "-Werror", "-O2", "-o", compiled, os.path.join(EXAMPLES, "device.c"))
    commands = {
        "Python": (need("python3"), os.path.join(EXAMPLES, "device.py")),
        "JavaScript": (need("node"), os.path.join(EXAMPLES, "device.js")),
        "C": (compiled,),
    }
    return {language: (*command, "127.0.0.1", relay.port, f"device-{language}") for language, command in commands.items()}


def test():
    relay = Relay("--classic-poll-interval", "1s", "--client-wait", "5s")
    for language, command in devices(relay).items():
        device = start(language, *command)
        url = f"{relay.url}/device-{language}"
        curl = (need("curl"), "-sS", "--fail-with-body", "--max-time", "10")
        hello = f"hello from a device in {language}, "
        eventually(f"the device in {language} answers", lambda: run(*curl, f"{url}/0", check=False).returncode == 0)
        for n in range(20):
            said = run(*curl, f"{url}/{n}").stdout_text
            assert said.startswith(f"{hello}GET /device-{language}/{n}"), said
            # Asked for one after another on one connection of the client's.
            said = run(*curl, "--data-binary", "@/etc/services", f"{url}/a", f"{url}/b").stdout_text
            assert said.count(hello) == 2, said
        # Long enough for a 204 or two.
        time.sleep(2.5)
        said = run(*curl, f"{url}/again").stdout_text
        assert said.startswith(hello), said
        assert device.process.poll() is None, f"{language} ended: {device.said()}"
    relay.end()
    print("Python, JavaScript and C")


main(test, 90)
