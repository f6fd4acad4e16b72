"""An ssh session with Debian's sshd through `ringback tunnel --stdio`: a command, its exit code, and a few MiB both
ways, with keys of the test's own and nothing of the user's."""
import getpass
import hashlib
import os

import harness
from harness import Relay, cores, free_port, main, need, ringback, run, start

SIZE = 6 << 20


def keys(directory):
    for name in ("host", "user"):
        run(need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", os.path.join(directory, name))
    os.link(os.path.join(directory, "user.pub"), os.path.join(directory, "authorized"))


def sshd(directory):
    port = free_port()
    config = os.path.join(directory, "sshd_config")
    with open(config, "w", encoding="ascii") as file:
        file.write(f"""Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
""")
    if os.geteuid() == 0:
        # Where sshd's unprivileged half lives; Debian's service makes it.
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    daemon = start("sshd", need("sshd"), "-D", "-e", "-f", config)
    daemon.wait_for("Server listening")
    return port


def session(directory, relay, domain):
    user = getpass.getuser()
    config = os.path.join(directory, f"ssh_config_{domain}")
    with open(config, "w", encoding="ascii") as file:
        file.write(f"""Host {domain}
ProxyCommand {ringback()} tunnel --relay {relay.url} --domain %h --stdio
User {user}
IdentityFile {directory}/user
IdentitiesOnly yes
UserKnownHostsFile {directory}/known
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking accept-new
BatchMode yes
ConnectTimeout 20
""")
    ssh = (need("ssh"), "-F", config, domain)
    said = run(*ssh, "echo it is $((6 * 7)); echo on stderr >&2; exit 7", check=False)
    assert (said.returncode, said.stdout_text) == (7, "it is 42\n"), (said.returncode, said.stdout_text, said.stderr_text)
    assert "on stderr" in said.stderr_text
    # Both ways at once, through standard input and output.
    bulk = os.urandom(SIZE)
    back = run(*ssh, "cat", input=bulk).stdout
    assert back == bulk, f"{len(back)} of {SIZE} bytes came back"
    # And as files.
    sent, stored, fetched = (os.path.join(directory, f"{name}-{domain}") for name in ("sent", "stored", "fetched"))
    with open(sent, "wb") as file:
        file.write(bulk)
    scp = (need("scp"), "-q", "-F", config)
    run(*scp, sent, f"{domain}:{stored}")
    run(*scp, f"{domain}:{stored}", fetched)
    for name in (stored, fetched):
        with open(name, "rb") as file:
            assert hashlib.sha256(file.read()).digest() == hashlib.sha256(bulk).digest(), name
    print(f"{domain}: a command, {SIZE >> 20} MiB through a pipe and there and back as files")


def test():
    for program in ("ssh", "scp", "sshd", "ssh-keygen"):
        need(program)
    directory = harness.directory
    keys(directory)
    target = f"127.0.0.1:{sshd(directory)}"
    relay = Relay("--cores", cores(2))
    relay.gateway("ptth", target)
    relay.gateway("classic", target, "--dialect", "classic")
    for domain in ("ptth", "classic"):
        session(directory, relay, domain)
    relay.end()


main(test, 120)
