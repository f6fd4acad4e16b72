//! The file of `--keys`: who may register gateways of which relay domains, and who may call them.
use crate::{
    http::domain,
    relay::{
        access::{Call, Digest, Key, Listen, Pattern, Rights, Rule, Rules},
        network::Network,
    },
};
use serde::Deserialize;
use std::{path::Path, time::SystemTime};
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// A file as it was read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    #[serde(default = "by_key")]
    listen: ListenWord,
    #[serde(default = "open")]
    call: CallWord,
    #[serde(default)]
    domain: Vec<DomainTable>,
    /// The keys, in order.
    #[serde(default)]
    pub key: Vec<KeyTable>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListenWord {
    Never,
    Key,
    Local,
    Open,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CallWord {
    Key,
    Open,
}

fn by_key() -> ListenWord {
    ListenWord::Key
}

fn open() -> CallWord {
    CallWord::Open
}

/// What counts for some domains instead of what the head of the file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainTable {
    names: Vec<Name>,
    listen: Option<ListenWord>,
    call: Option<CallWord>,
    #[serde(default)]
    sources: Vec<Source>,
    #[serde(default)]
    methods: Vec<Method>,
    #[serde(default)]
    paths: Vec<Prefix>,
}

/// A key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyTable {
    /// Its hash.
    pub hash: Hash,
    /// What it is for.
    pub domains: Vec<Name>,
    /// What it is good for.
    pub rights: Vec<Right>,
    /// When its time is over.
    pub expires: Option<Expiry>,
    /// Whose it is, for people.
    pub note: Option<String>,
}

/// A right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// To register gateways
    Listen,
    /// To send requests
    Call,
}

/// Declares texts that are checked as they are read, so that an error has its line.
macro_rules! checked {
    ($($(#[$doc:meta])* $name:ident($what:ty) = $parse:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(pub $what);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<$name, String> {
                let parse: fn(String) -> Result<$what, String> = $parse;
                parse(text).map($name)
            }
        }
    )*};
}

checked! {
    /// The hash of a key.
    Hash(Digest) = |text| text.parse();
    /// A relay domain, or a pattern of such.
    Name(String) = name;
    /// A network.
    Source(Network) = |text| text.parse();
    /// A method.
    Method(String) = |text| match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(format!("{text:?} is not a method: write it as in GET")),
    };
    /// What paths begin with.
    Prefix(String) = |text| match text.starts_with('/') {
        true => Ok(text),
        false => Err(format!("{text:?} is not the beginning of a path: write it as in /status")),
    };
}

/// Checks the name of a domain, in which `*` may stand for any number of characters.
pub fn name(text: String) -> Result<String, String> {
    let plain = text.to_ascii_lowercase().replace('*', "x");
    match domain::is_domain(plain.as_bytes()) {
        true => Ok(text),
        false => Err(format!("{text:?} is not a relay domain: write it as in pump-7, or pump-* for several")),
    }
}

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "toml::value::Datetime")]
pub struct Expiry(pub OffsetDateTime);

impl TryFrom<toml::value::Datetime> for Expiry {
    type Error = String;

    fn try_from(at: toml::value::Datetime) -> Result<Expiry, String> {
        let wrong = || format!("{at} is not a moment: write it as in 2027-06-30 or 2027-06-30T12:00:00Z");
        let date = at.date.ok_or_else(wrong)?;
        let month = Month::try_from(date.month).map_err(|_| wrong())?;
        let date = Date::from_calendar_date(date.year.into(), month, date.day).map_err(|_| wrong())?;
        let time = match at.time {
            Some(time) => Time::from_hms(time.hour, time.minute, time.second.unwrap_or(0)).map_err(|_| wrong())?,
            None => Time::MIDNIGHT,
        };
        let offset = match at.offset {
            Some(toml::value::Offset::Custom { minutes }) => {
                UtcOffset::from_whole_seconds(i32::from(minutes) * 60).map_err(|_| wrong())?
            }
            Some(toml::value::Offset::Z) | None => UtcOffset::UTC,
        };
        Ok(Expiry(date.with_time(time).assume_offset(offset)))
    }
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// The message for the user: the file, the line and what is wrong there.
    pub fn read(path: &Path) -> Result<KeyFile, String> {
        let at = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {at} of --keys: {error}"))?;
        let file = KeyFile::parse(&text).map_err(|error| format!("{at} of --keys: {error}"))?;
        Ok(file)
    }

    fn parse(text: &str) -> Result<KeyFile, String> {
        let file: KeyFile = toml::from_str(text).map_err(|error| error.to_string())?;
        // What the types do not say.
        file.rules(SystemTime::UNIX_EPOCH)?;
        Ok(file)
    }

    /// The rules as they are at a moment.
    ///
    /// # Errors
    /// A key or a name is there twice.
    pub fn rules(&self, now: SystemTime) -> Result<Rules, String> {
        let now = Expiry(now.into());
        let mut rules = Rules::new(self.rule(None));
        for table in &self.key {
            let rights = table.rights.iter().map(|right| match right {
                Right::Listen => Rights::LISTEN,
                Right::Call => Rights::CALL,
            });
            let key = Key {
                digest: table.hash.0,
                domains: table.domains.iter().map(|name| Pattern::new(&name.0)).collect(),
                rights: rights.collect(),
                expired: table.expires.is_some_and(|expires| expires <= now),
            };
            rules
                .add_key(key)
                .map_err(|key| format!("the key {} is there twice: leave one of them out", key.digest))?;
        }
        for table in &self.domain {
            let names = table.names.iter().map(|name| Pattern::new(&name.0)).collect();
            let twice = |name| format!("two [[domain]] tables have the name {name:?}: leave it out of one of them");
            rules.add_rule(names, self.rule(Some(table))).map_err(|name| twice(name.to_string()))?;
        }
        Ok(rules)
    }

    fn rule(&self, table: Option<&DomainTable>) -> Rule {
        let bytes = |text: &str| text.as_bytes().into();
        Rule {
            listen: match table.and_then(|table| table.listen).unwrap_or(self.listen) {
                ListenWord::Never => Listen::Never,
                ListenWord::Key => Listen::Key,
                ListenWord::Local => Listen::Local,
                ListenWord::Open => Listen::Open,
            },
            call: match table.and_then(|table| table.call).unwrap_or(self.call) {
                CallWord::Key => Call::Key,
                CallWord::Open => Call::Open,
            },
            sources: table.map_or(Vec::new(), |table| table.sources.iter().map(|source| source.0).collect()),
            methods: table.map_or(Vec::new(), |table| table.methods.iter().map(|method| bytes(&method.0)).collect()),
            paths: table.map_or(Vec::new(), |table| table.paths.iter().map(|prefix| bytes(&prefix.0)).collect()),
        }
    }

    /// Whether keys expire between two moments.
    pub fn changes(&self, from: SystemTime, to: SystemTime) -> bool {
        let (from, to) = (Expiry(from.into()), Expiry(to.into()));
        self.key.iter().filter_map(|key| key.expires).any(|expires| from < expires && expires <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::Refusal, relay::access::Asked};
    use proptest::prelude::*;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn file(text: &str) -> KeyFile {
        KeyFile::parse(&text.replace("HASH", &Digest::of(b"secret").to_string())).unwrap()
    }

    fn listen(rules: &Rules, name: &str) -> Result<bool, Refusal> {
        let names = [name.as_bytes()];
        rules.listen(names.into_iter(), true, Some(b"Bearer secret")).map(|key| key.is_some())
    }

    /// What the file says is what counts; what it does not say is closed for listening and open for calling.
    #[test]
    fn a_file_becomes_rules() {
        let file = file(
            r#"
            [[domain]]
            names = ["door", "Gate-*"]
            call = "key"
            [[domain]]
            names = ["free"]
            listen = "open"
            [[key]]
            hash = "HASH"
            domains = ["door"]
            rights = ["listen"]
            expires = 1970-01-03
            note = "the caretaker's"
            "#,
        );
        let rules = file.rules(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(rules.len(), (1, 2));
        assert_eq!(listen(&rules, "door"), Ok(true));
        assert_eq!(listen(&rules, "gate-1"), Err(Refusal::KeyForOthers));
        assert_eq!(listen(&rules, "free"), Ok(false));
        let asked = Asked { source: &[0; 16], method: b"GET", path: Some(b"/"), credentials: None };
        assert_eq!(rules.call(b"gate-1", &asked), Err(Refusal::CallUnauthorized));
        assert_eq!(rules.call(b"other", &asked), Ok(false));
        let later = SystemTime::UNIX_EPOCH + 2 * DAY;
        assert_eq!(listen(&file.rules(later).unwrap(), "door"), Err(Refusal::KeyExpired));
        assert!(file.changes(SystemTime::UNIX_EPOCH, later) && !file.changes(later, later + DAY));
    }

    /// What is wrong is named with its line, and with what to write instead.
    #[test]
    fn mistakes_are_named() {
        let hash = Digest::of(b"secret").to_string();
        for (text, line, what) in [
            ("listen = \"all\"", "line 1", "`open`"),
            ("\nlisten", "line 2", ""),
            ("lisen = \"key\"", "line 1", "`listen`"),
            ("[[key]]\nhash = \"secret\"\ndomains = []\nrights = []", "line 2", "ringback key hash"),
            ("[[domain]]\nnames = [\"a b\"]", "line 2", "not a relay domain"),
            ("[[domain]]\nnames = [\"a\"]\nsources = [\"10.0.0/8\"]", "line 3", "10.0.0/8"),
            ("[[domain]]\nnames = [\"a\"]\npaths = [\"status\"]", "line 3", "/status"),
            ("[[domain]]\nnames = [\"a\"]\nmethods = [\"\"]", "line 3", "GET"),
            ("[[domain]]\nnames = [\"a\"]\n[[domain]]\nnames = [\"A\"]", "", "\"a\""),
        ] {
            let error = KeyFile::parse(text).unwrap_err();
            assert!(error.contains(line) && error.contains(what), "{text}: {error}");
        }
        let table = format!("[[key]]\nhash = \"{hash}\"\ndomains = [\"a\"]\nrights = [\"call\"]\n");
        assert!(KeyFile::parse(&(table.clone() + &table)).unwrap_err().contains("twice"));
        let error = KeyFile::parse(&(table + "expires = 12:00:00")).unwrap_err();
        assert!(error.contains("line 5") && error.contains("2027-06-30"), "{error}");
    }

    proptest! {
        /// Whatever a file holds, it is taken or refused with words.
        #[test]
        fn no_file_is_too_odd(text in r#"(\[\[(key|domain)\]\]|[a-z]{3,7} = |"[a-z*:/]{0,9}"|\[|\]|[\n,0-9T:Z-]){0,40}"#) {
            if let Err(error) = KeyFile::parse(&text) {
                prop_assert!(!error.is_empty());
            }
        }
    }

    /// Moments are read in every form that TOML has.
    #[test]
    fn moments_have_several_forms() {
        let seconds = |text: &str| {
            let table: toml::Table = toml::from_str(&format!("at = {text}")).unwrap();
            let at: Expiry = table["at"].clone().try_into().unwrap();
            at.0.unix_timestamp()
        };
        assert_eq!(seconds("1970-01-02"), 86_400);
        assert_eq!(seconds("1970-01-02T01:00:00"), 90_000);
        assert_eq!(seconds("1970-01-02 01:00:00Z"), 90_000);
        assert_eq!(seconds("1970-01-02T01:00:00+01:00"), 86_400);
    }
}
