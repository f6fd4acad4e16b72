//! Keys, as those who run a relay make and change them.
use crate::support::{
    Peer,
    peers::*,
    process::{Process, Watchdog, ringback},
};
use rustix::process::Signal;
use std::{fs, path::PathBuf, process::Output};

/// A directory that goes when the test is over.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _left_by_a_run_that_was_killed = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A key for a domain, which is added to a file.
fn new(file: &str, domain: &str, more: &[&str]) -> String {
    let arguments = [&["key", "new", "--keys", file, "--domain", domain], more].concat();
    let said = text(&ringback(&arguments).output().unwrap());
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim().to_owned()
}

fn register(relay: &Process, domain: &str, key: &str) -> Peer {
    let mut peer = relay.connect();
    peer.send(ptth_get(domain, &format!("Authorization: Bearer {key}\r\n")));
    peer
}

/// A key that was made lets its gateway in; the file can be listed, has no key in it and is for its owner alone.
#[test]
fn a_new_key_lets_its_gateway_in() {
    use std::os::unix::fs::PermissionsExt;
    let _watchdog = Watchdog::watch();
    let place = Place::new("new-key");
    let file = place.file("keys.toml");
    let key = new(&file, "pump-*", &["--note", "the \"north\" pumps", "--expires", "2999-12-31"]);
    let other = new(&file, "door", &["--right", "call", "--right", "listen"]);
    let content = fs::read_to_string(&file).unwrap();
    assert!(!content.contains(&key) && !content.contains(&other) && content.contains("sha256:"), "{content}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let list = text(&ringback(&["key", "list", "--keys", &file]).output().unwrap());
    let lines: Vec<_> = list.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("listen pump-*, until 2999-12-31"), "{list}");
    assert!(lines[0].ends_with("# the \"north\" pumps") && lines[1].contains("call+listen door"), "{list}");
    let relay = Process::relay(&["--keys", &file]);
    register(&relay, "pump-7", &key).expect(PTTH_101);
    let refused = register(&relay, "door", &key).head();
    assert!(refused.contains("X-Relay-Error: key-for-others"), "{refused}");
    relay.await_complaint("refused 127.0.0.1 at door: ");
    assert!(!relay.complaints().contains(&key), "{}", relay.complaints());
}

/// SIGHUP has the file read again: who was taken out goes, who was added comes in; a file that is wrong changes nothing.
#[test]
fn the_file_is_read_again() {
    let _watchdog = Watchdog::watch();
    let place = Place::new("reload");
    let file = place.file("keys.toml");
    let key = new(&file, "dev", &[]);
    let relay = Process::relay(&["--keys", &file]);
    let mut gateway = register(&relay, "dev", &key);
    gateway.expect(PTTH_101);
    fs::write(&file, "listen = \"perhaps\"\n").unwrap();
    relay.signal(Signal::HUP);
    relay.await_complaint("line 1");
    relay.await_complaint("those from before stay in use");
    let mut client = relay.connect();
    client.send(get("/dev/") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
    gateway.send(ok("x"));
    client.expect(ok("x"));
    fs::remove_file(&file).unwrap();
    let other = new(&file, "dev", &[]);
    relay.signal(Signal::HUP);
    relay.await_complaint("1 keys and 0 rules were read again");
    gateway.expect_gone();
    register(&relay, "dev", &other).expect(PTTH_101);
    assert!(register(&relay, "dev", &key).head().contains("X-Relay-Error: unauthorized"));
}

/// A gateway elsewhere is told why it may not register, and what helps; with a key from a file it may.
#[test]
fn the_gateway_says_what_helps() {
    let _watchdog = Watchdog::watch();
    let place = Place::new("gateway");
    let (file, key_file) = (place.file("keys.toml"), place.file("dev.key"));
    fs::write(&key_file, new(&file, "dev", &[]) + "\n").unwrap();
    let relay = Process::relay(&["--keys", &file]);
    let url = format!("http://{}", relay.address());
    for (arguments, domain, words) in [
        (&[][..], "dev", "--key-file"),
        (&["--key-file", &key_file], "other", "key-for-others"),
        (&["--key-file", &key_file], "dev", "connected to the relay"),
    ] {
        let all = [&["gateway", "--relay", &url, "--domain", domain, "--target", "127.0.0.1:9"], arguments].concat();
        let mut child = ringback(&all).env_remove("RINGBACK_KEY").spawn().unwrap();
        let said = std::io::BufReader::new(child.stderr.take().unwrap());
        let found = std::io::BufRead::lines(said).map_while(Result::ok).any(|line| line.contains(words));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found, "{words}");
    }
}
