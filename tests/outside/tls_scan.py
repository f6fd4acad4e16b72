"""nmap finds no old version and no weak cipher suite at the relay's port for TLS."""
import re

from harness import Relay, certificate, main, need, run


def test():
    nmap = need("nmap")
    ca, key = certificate("relay")
    relay = Relay("--listen-tls", "127.0.0.1:0", "--cert", ca, "--key", key)
    port = relay.child.wait_for(r"by TLS at 127\.0\.0\.1:(\d+)")[1]
    said = run(nmap, "-Pn", "-p", port, "--script", "+ssl-enum-ciphers", "127.0.0.1", limit=100).stdout_text
    versions = re.findall(r"^\|\s+((?:TLS|SSL)v[\d.]+):", said, re.MULTILINE)
    assert versions == ["TLSv1.2", "TLSv1.3"], said
    grades = re.findall(r"^\|\s+(TLS_\S+|TLS_AKE\S+).* - (\S)$", said, re.MULTILINE)
    assert len(grades) >= 6 and all(grade == "A" for _, grade in grades), said
    assert re.search(r"least strength: A", said), said
    assert all("_GCM_" in suite or "CHACHA20" in suite for suite, _ in grades), said
    assert "warnings" not in said, said
    relay.end()


main(test, 120)
