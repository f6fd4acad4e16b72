//! `ringback key`: makes keys for `--keys`, and shows which there are.
use super::{
    console, failed,
    keys::{self, Expiry, KeyFile, Right},
};
use crate::relay::access::Digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// Characters of a key that somebody else has made, at least: shorter ones can be found from their hash.
const KEY_CHARS_MIN: usize = 20;

/// Make keys for gateways and clients, and show which there are
///
/// Keys and rules are in the file that `ringback relay --keys FILE` is given; it holds hashes only.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Make a key: it goes to standard output, and its table to the end of --keys, or else behind it
    New(New),
    /// Read a key from standard input and print its hash
    Hash,
    /// List the keys of a file
    List {
        /// The file
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct New {
    /// File to add the key to; made if it is not there
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Relay domain that it is for, or a pattern as in pump-*; may be repeated
    #[arg(long, value_name = "NAME", required = true, value_parser = |text: &str| keys::name(text.to_owned()))]
    domain: Vec<String>,
    /// What it is good for; may be repeated
    #[arg(long, value_name = "RIGHT", default_value = "listen")]
    right: Vec<Right>,
    /// When its time is over, as in 2027-06-30 or 2027-06-30T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires: Option<String>,
    /// Whose it is, for people
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

fn expiry(text: &str) -> Result<String, String> {
    let at: toml::value::Datetime =
        text.parse().map_err(|_| format!("{text:?} is not a moment: write it as in 2027-06-30"))?;
    Expiry::try_from(at).map(|_| at.to_string())
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let done = match args.what {
        What::New(new) => new.run(),
        What::Hash => hash(io::stdin().lock()),
        What::List { keys } => KeyFile::read(&keys).map(|file| list(&file)),
    };
    match done {
        Ok(text) => {
            console::print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

impl New {
    fn run(self) -> Result<String, String> {
        let mut bytes = [0; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system has no random numbers".to_owned())?;
        let key = format!("rb_{}", URL_SAFE_NO_PAD.encode(bytes));
        let table = self.table(&Digest::of(key.as_bytes()));
        match &self.keys {
            Some(path) => append(path, &table).map(|()| format!("{key}\n")),
            None => Ok(format!("{key}\n\n{table}")),
        }
    }

    fn table(&self, hash: &Digest) -> String {
        let quoted = |texts: &[String]| texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ");
        let rights: Vec<_> = self.right.iter().map(|right| format!("{right:?}").to_lowercase()).collect();
        let mut table = format!(
            "[[key]]\nhash = \"{hash}\"\ndomains = [{}]\nrights = [{}]\n",
            quoted(&self.domain),
            quoted(&rights)
        );
        if let Some(expires) = &self.expires {
            let _ = writeln!(table, "expires = {expires}");
        }
        if let Some(note) = &self.note {
            let _ = writeln!(table, "note = {}", quote(note));
        }
        table
    }
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Adds a table to the end of a file, which nobody but its owner can read if it is new.
fn append(path: &Path, table: &str) -> Result<(), String> {
    let bad = |error: io::Error| format!("cannot write to {}: {error}", path.display());
    let there = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    if there {
        // Nothing is added to what a relay would not take.
        KeyFile::read(path)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(bad)?;
    let gap = if there { "\n" } else { "" };
    file.write_all(format!("{gap}{table}").as_bytes()).and_then(|()| file.sync_all()).map_err(bad)
}

fn hash(mut input: impl Read) -> Result<String, String> {
    let mut key = String::new();
    input.read_to_string(&mut key).map_err(|error| format!("cannot read the key: {error}"))?;
    let key = key.trim();
    if key.len() < KEY_CHARS_MIN || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!(
            "a key has at least {KEY_CHARS_MIN} visible ASCII characters, or it could be guessed: `ringback key new` makes one"
        ));
    }
    Ok(format!("{}\n", Digest::of(key.as_bytes())))
}

/// A line for each key.
fn list(file: &KeyFile) -> String {
    let now = Expiry(SystemTime::now().into());
    file.key.iter().fold(String::new(), |mut lines, key| {
        let names: Vec<_> = key.domains.iter().map(|name| name.0.as_str()).collect();
        let rights: Vec<_> = key.rights.iter().map(|right| format!("{right:?}").to_lowercase()).collect();
        let expires = match key.expires {
            None => String::new(),
            Some(at) if at <= now => format!(", expired {}", at.0),
            Some(at) => format!(", until {}", at.0),
        };
        let note = key.note.as_ref().map_or(String::new(), |note| format!("  # {note}"));
        let hash = &key.hash.0.to_string()[..19];
        let _ = writeln!(lines, "{hash}  {} {}{expires}{note}", rights.join("+"), names.join(","));
        lines
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash is of the key alone, whatever whitespace is around it; what can be guessed is none.
    #[test]
    fn keys_are_hashed_without_their_line_end() {
        let key = "rb_0123456789abcdefgh";
        let expected = format!("{}\n", Digest::of(key.as_bytes()));
        assert_eq!(hash(format!("{key}\n").as_bytes()), Ok(expected.clone()));
        assert_eq!(hash(format!(" {key}\r\n").as_bytes()), Ok(expected));
        for bad in ["", "secret", "a key with spaces in the middle", "schlüssel-mit-umlauten-äöü"] {
            assert!(hash(bad.as_bytes()).is_err_and(|error| error.contains("key new")), "{bad}");
        }
    }
}
