"""Java's HTTP client by TLS 1.2 and 1.3, bodies both ways; and by 1.3 where it renews its keys every mebibyte, as it does
after a longer while by itself."""
import os

import harness
from harness import HERE, Relay, certificate, main, need, run, service


def java(url, ca, version, paths, *options):
    done = run(need("java"), *options, "-Djavax.net.debug=ssl:handshake", os.path.join(HERE, "Client.java"), url, ca, version,
               *paths, limit=90)
    assert f"answered {7 * len(paths)}" in done.stdout_text, done.stdout_text[-2000:]
    return done.stderr_text


def test():
    ca, key = certificate("relay")
    relay = Relay("--listen-tls", "127.0.0.1:0", "--cert", ca, "--key", key)
    port = int(relay.child.wait_for(r"by TLS at 127\.0\.0\.1:(\d+)")[1])
    relay.gateway("device", service(), "--strip-prefix")
    url = f"https://localhost:{port}/device"
    for version in ("TLSv1.2", "TLSv1.3"):
        java(url, ca, version, ["/echo", "/seen"])
    limits = os.path.join(harness.directory, "limits")
    with open(limits, "w", encoding="ascii") as file:
        file.write("jdk.tls.keyLimits=AES/GCM/NoPadding KeyUpdate 2^20\n")
    # Only what it sends counts: for each record that it gets beyond the limit it asks for new keys once more.
    said = java(url, ca, "TLSv1.3", ["/seen"], f"-Djava.security.properties={limits}")
    renewed = said.count("KeyUpdate: write key updated")
    assert renewed >= 2, f"few keys were renewed: {renewed}"
    relay.end()


main(test, 150)
