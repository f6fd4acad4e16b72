//! Who may register gateways of a relay domain, and who may call them: rules by domain, and keys.
//!
//! Rules never change: a new set takes the place of the old one. Keys are kept as their SHA-256: whoever reads them here
//! or in the file learns none. That is enough for keys of 256 random bits, which cannot be guessed from it.
use super::network::Network;
use crate::http::Refusal;
use aws_lc_rs::{constant_time, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bitflags::bitflags;
use std::{collections::HashMap, fmt};

/// Bytes of a key, or of a user's name and a key, at most.
const CREDENTIALS_BYTES_MAX: usize = 512;

/// Who may register gateways of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nobody.
    Never,
    /// Who has a key for it.
    Key,
    /// The same, and anybody on this machine.
    Local,
    /// Anybody.
    Open,
}

/// Who may send requests to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Who has a key for it.
    Key,
    /// Anybody.
    Open,
}

bitflags! {
    /// What a key is good for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u8 {
        /// To register gateways.
        const LISTEN = 1;
        /// To send requests.
        const CALL = 2;
    }
}

/// A key's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of a key.
    pub fn of(key: &[u8]) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, key).as_ref());
        Digest(bytes)
    }

    /// The name of the key that has it: the same in every set of rules.
    fn id(&self) -> KeyId {
        KeyId(u64::from_be_bytes(self.0[..8].try_into().expect("eight bytes")))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Digest, String> {
        let wrong = || format!("{text:?} is not the hash of a key: give what `ringback key hash` says, sha256:...");
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.is_ascii());
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.ok_or_else(wrong)?.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Digest(bytes))
    }
}

/// The name of a key: the first bytes of its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(u64);

/// Relay domains: one, or those that match, where `*` stands for any number of characters. Lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<[u8]>);

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Pattern {
    /// Of a text in any case.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.to_ascii_lowercase().into_bytes().into())
    }

    fn is_exact(&self) -> bool {
        !self.0.contains(&b'*')
    }

    /// Whether it stands for a name, which is in lower case.
    pub fn matches(&self, name: &[u8]) -> bool {
        // Where the last `*` stands, and how much of the name it has taken.
        let (mut at, mut done, mut star) = (0, 0, None);
        while done < name.len() {
            match self.0.get(at) {
                Some(b'*') => {
                    star = Some((at, done));
                    at += 1;
                }
                Some(&b) if b == name[done] => {
                    at += 1;
                    done += 1;
                }
                _ => {
                    let Some((place, taken)) = star else { return false };
                    star = Some((place, taken + 1));
                    at = place + 1;
                    done = taken + 1;
                }
            }
        }
        self.0[at..].iter().all(|&b| b == b'*')
    }
}

/// A key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its digest.
    pub digest: Digest,
    /// The domains it is for.
    pub domains: Vec<Pattern>,
    /// What it is good for.
    pub rights: Rights,
    /// Its time is over.
    pub expired: bool,
}

/// What counts for some domains.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Who may register gateways.
    pub listen: Listen,
    /// Who may send requests.
    pub call: Call,
    /// From where requests may come; from anywhere if empty.
    pub sources: Vec<Network>,
    /// Their methods; any if empty.
    pub methods: Vec<Box<[u8]>>,
    /// What their paths, behind the domain, begin with: whole segments. Any if empty.
    pub paths: Vec<Box<[u8]>>,
}

/// A request, as far as rules look.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The address it comes from, IPv4 mapped.
    pub source: &'a [u8; 16],
    /// Its method.
    pub method: &'a [u8],
    /// Its path without the domain, and its query; `None` for a tunnel, in which any path can be asked for.
    pub path: Option<&'a [u8]>,
    /// The value of `X-Relay-Authorization`, else that of `Authorization`.
    pub credentials: Option<&'a [u8]>,
}

/// Rules and keys.
#[derive(Clone, Debug)]
pub struct Rules {
    keys: HashMap<KeyId, Key>,
    /// The rules of domains by their exact names.
    exact: HashMap<Box<[u8]>, usize>,
    /// Those of patterns, in order.
    patterns: Vec<(Pattern, usize)>,
    rules: Vec<Rule>,
    /// What counts for all other domains.
    default: Rule,
}

impl Rules {
    /// Without keys, and with one rule for all domains.
    pub fn new(default: Rule) -> Rules {
        Rules { keys: HashMap::new(), exact: HashMap::new(), patterns: Vec::new(), rules: Vec::new(), default }
    }

    /// Adds a key.
    ///
    /// # Errors
    /// It is there already; it is given back.
    pub fn add_key(&mut self, key: Key) -> Result<(), Key> {
        match self.keys.entry(key.digest.id()) {
            std::collections::hash_map::Entry::Occupied(_) => Err(key),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(key);
                Ok(())
            }
        }
    }

    /// Adds a rule for some domains. Exact names go before patterns, and the first pattern that matches counts.
    ///
    /// # Errors
    /// One of the names has a rule already; it is given back.
    pub fn add_rule(&mut self, names: Vec<Pattern>, rule: Rule) -> Result<(), Pattern> {
        let number = self.rules.len();
        for name in names {
            if !name.is_exact() {
                self.patterns.push((name, number));
            } else if self.exact.insert(name.0.clone(), number).is_some() {
                return Err(name);
            }
        }
        self.rules.push(rule);
        Ok(())
    }

    /// How many keys there are, and how many rules besides the one for all others.
    pub fn len(&self) -> (usize, usize) {
        (self.keys.len(), self.rules.len())
    }

    fn rule(&self, name: &[u8]) -> &Rule {
        let by_pattern = || self.patterns.iter().find(|(pattern, _)| pattern.matches(name)).map(|&(_, number)| number);
        self.exact.get(name).copied().or_else(by_pattern).map_or(&self.default, |number| &self.rules[number])
    }

    /// Whether gateways of these domains may register with these credentials; `local` if they are on this machine. With
    /// which key they do, if they need one.
    ///
    /// # Errors
    /// What they are told.
    pub fn listen<'a>(
        &self,
        names: impl Iterator<Item = &'a [u8]> + Clone,
        local: bool,
        credentials: Option<&[u8]>,
    ) -> Result<Option<KeyId>, Refusal> {
        if names.clone().any(|name| self.rule(name).listen == Listen::Never) {
            return Err(Refusal::ReservedDomain);
        }
        match self.find(credentials) {
            Ok(key) if names.clone().all(|name| key.is_for(name, Rights::LISTEN)) => Ok(Some(key.digest.id())),
            _ if names.clone().all(|name| self.is_open(name, local)) => Ok(None),
            Ok(_) => Err(Refusal::KeyForOthers),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether gateways of these domains that have registered by other rules may go on, with the key that they had.
    pub fn may_stay<'a>(&self, mut names: impl Iterator<Item = &'a [u8]>, local: bool, key: Option<KeyId>) -> bool {
        let key = key.and_then(|id| self.keys.get(&id)).filter(|key| !key.expired);
        names.all(|name| {
            let by_key = key.is_some_and(|key| key.is_for(name, Rights::LISTEN));
            self.is_open(name, local) || by_key && self.rule(name).listen != Listen::Never
        })
    }

    fn is_open(&self, name: &[u8], local: bool) -> bool {
        match self.rule(name).listen {
            Listen::Open => true,
            Listen::Local => local,
            Listen::Never | Listen::Key => false,
        }
    }

    /// Whether a request to a domain may pass. Whether that took its key.
    ///
    /// # Errors
    /// What the client is told.
    pub fn call(&self, name: &[u8], asked: &Asked<'_>) -> Result<bool, Refusal> {
        let rule = self.rule(name);
        let any =
            |allowed: &[Box<[u8]>], is: &dyn Fn(&[u8]) -> bool| allowed.is_empty() || allowed.iter().any(|one| is(one));
        if !rule.sources.is_empty() && !rule.sources.iter().any(|network| network.contains(asked.source)) {
            return Err(Refusal::SourceForbidden);
        }
        if !any(&rule.methods, &|method| method == asked.method) {
            return Err(Refusal::MethodForbidden);
        }
        if !any(&rule.paths, &|prefix| asked.path.is_some_and(|path| begins_with(path, prefix))) {
            return Err(Refusal::PathForbidden);
        }
        if rule.call == Call::Open {
            // A key is not for the gateway, needed or not.
            return Ok(self.find(asked.credentials).is_ok());
        }
        match self.find(asked.credentials) {
            Ok(key) if key.is_for(name, Rights::CALL) => Ok(true),
            Ok(_) => Err(Refusal::KeyForOthers),
            Err(Refusal::Unauthorized) => Err(Refusal::CallUnauthorized),
            Err(refusal) => Err(refusal),
        }
    }

    /// The key that credentials hold.
    fn find(&self, credentials: Option<&[u8]>) -> Result<&Key, Refusal> {
        let mut room = [0; CREDENTIALS_BYTES_MAX];
        let given = credentials.and_then(|credentials| key_in(credentials, &mut room)).ok_or(Refusal::Unauthorized)?;
        let digest = Digest::of(given);
        let key = self.keys.get(&digest.id()).ok_or(Refusal::Unauthorized)?;
        // How long that takes tells of digests only, and nobody can choose those.
        constant_time::verify_slices_are_equal(&key.digest.0, &digest.0).map_err(|_| Refusal::Unauthorized)?;
        if key.expired { Err(Refusal::KeyExpired) } else { Ok(key) }
    }
}

impl Key {
    fn is_for(&self, name: &[u8], right: Rights) -> bool {
        self.rights.contains(right) && self.domains.iter().any(|domain| domain.matches(name))
    }
}

/// The key in the value of an `Authorization`: all of a Bearer's, or a Basic's password (RFC 6750 §2.1, RFC 7617).
fn key_in<'a>(credentials: &'a [u8], room: &'a mut [u8; CREDENTIALS_BYTES_MAX]) -> Option<&'a [u8]> {
    let space = credentials.iter().position(|&b| b == b' ')?;
    let (scheme, value) = (&credentials[..space], credentials[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(value).filter(|key| !key.is_empty() && key.len() <= CREDENTIALS_BYTES_MAX);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let len = STANDARD.decode_slice(value, room).ok()?;
    let colon = room[..len].iter().position(|&b| b == b':')?;
    Some(&room[colon + 1..len]).filter(|key| !key.is_empty())
}

/// Whether a path lies below a prefix, for whoever reads it. Paths that some read differently than others do not.
fn begins_with(path: &[u8], prefix: &[u8]) -> bool {
    let path = path.split(|&b| b == b'?' || b == b'#').next().unwrap_or_default();
    let rest = path.strip_prefix(prefix);
    let whole = rest.is_some_and(|rest| prefix.ends_with(b"/") || rest.is_empty() || rest[0] == b'/');
    whole && is_plain(path)
}

/// Whether there are no dot segments, empty segments or backslashes in a path, and no percent-encoded slash, backslash, dot,
/// semicolon or percent sign, of which such could be made behind the relay.
fn is_plain(path: &[u8]) -> bool {
    let encoded = path.windows(3).any(|three| {
        three[0] == b'%'
            && [&b"2f"[..], b"5c", b"2e", b"25", b"3b"].iter().any(|two| three[1..].eq_ignore_ascii_case(two))
    });
    let odd =
        |segment: &[u8]| segment == b"." || segment == b".." || segment.contains(&b'\\') || segment.contains(&b';');
    !encoded && !path.windows(2).any(|two| two == b"//") && !path.split(|&b| b == b'/').any(odd)
}

/// With which keys the gateways of a shard have registered, and whose may not serve any more.
#[derive(Debug, Default)]
pub struct Registered {
    /// By slot, with the slot's generation. Empty without keys.
    by_slot: Vec<Option<(u16, Standing)>>,
}

/// By what a gateway serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Key(KeyId),
    /// No more: it is closed when it has served its client.
    Revoked,
}

impl Registered {
    fn note(&mut self, slot: u32, generation: u16, standing: Option<Standing>) {
        let at = slot as usize;
        if at >= self.by_slot.len() {
            if standing.is_none() {
                return;
            }
            self.by_slot.resize(at + 1, None);
        }
        self.by_slot[at] = standing.map(|standing| (generation, standing));
    }

    fn standing(&self, slot: u32, generation: u16) -> Option<Standing> {
        let (noted, standing) = self.by_slot.get(slot as usize).copied().flatten()?;
        (noted == generation).then_some(standing)
    }

    /// A gateway has registered, with this key if it needed one.
    pub fn registers(&mut self, slot: u32, generation: u16, key: Option<KeyId>) {
        self.note(slot, generation, key.map(Standing::Key));
    }

    /// The key that a gateway has registered with.
    pub fn key(&self, slot: u32, generation: u16) -> Option<KeyId> {
        match self.standing(slot, generation)? {
            Standing::Key(key) => Some(key),
            Standing::Revoked => None,
        }
    }

    /// A gateway may not take another client.
    pub fn revoke(&mut self, slot: u32, generation: u16) {
        self.note(slot, generation, Some(Standing::Revoked));
    }

    /// Whether that is so.
    #[inline]
    pub fn is_revoked(&self, slot: u32, generation: u16) -> bool {
        !self.by_slot.is_empty() && self.standing(slot, generation) == Some(Standing::Revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPEN: Rule =
        Rule { listen: Listen::Key, call: Call::Open, sources: Vec::new(), methods: Vec::new(), paths: Vec::new() };

    fn key(text: &str, domains: &[&str], rights: Rights) -> Key {
        let domains = domains.iter().map(|domain| Pattern::new(domain)).collect();
        Key { digest: Digest::of(text.as_bytes()), domains, rights, expired: false }
    }

    fn rules() -> Rules {
        let mut rules = Rules::new(OPEN);
        rules.add_key(key("listens", &["pump-*", "door"], Rights::LISTEN)).unwrap();
        rules.add_key(key("calls", &["pump-7"], Rights::CALL)).unwrap();
        rules.add_key(Key { expired: true, ..key("old", &["*"], Rights::all()) }).unwrap();
        let closed = Rule { call: Call::Key, ..OPEN };
        rules.add_rule(vec![Pattern::new("pump-*")], closed).unwrap();
        rules.add_rule(vec![Pattern::new("Local")], Rule { listen: Listen::Local, ..OPEN }).unwrap();
        rules.add_rule(vec![Pattern::new("never")], Rule { listen: Listen::Never, ..OPEN }).unwrap();
        rules
    }

    fn asked<'a>(credentials: Option<&'a [u8]>) -> Asked<'a> {
        Asked { source: &[0; 16], method: b"GET", path: Some(b"/"), credentials }
    }

    /// Registering takes a key for every name, unless the domain is open to this machine or to all; a reserved one takes
    /// none at all.
    #[test]
    fn listening_takes_a_key() {
        let rules = rules();
        let listen = |names: &[&str], local, credentials: Option<&str>| {
            let names = names.iter().map(|name| name.as_bytes());
            rules.listen(names, local, credentials.map(str::as_bytes)).map(|key| key.is_some())
        };
        assert_eq!(listen(&["pump-7", "door"], false, Some("Bearer listens")), Ok(true));
        assert_eq!(listen(&["pump-7"], false, Some("bearer  listens ")), Ok(true));
        assert_eq!(listen(&["pump-7"], false, Some("Basic cHVtcDpsaXN0ZW5z")), Ok(true));
        assert_eq!(listen(&["pump-7", "other"], false, Some("Bearer listens")), Err(Refusal::KeyForOthers));
        assert_eq!(listen(&["pump-7"], true, None), Err(Refusal::Unauthorized));
        for wrong in
            ["Bearer listen", "Bearer ", "Bearer", "listens", "Digest listens", "Basic !", "Basic bGlzdGVucw=="]
        {
            assert_eq!(listen(&["pump-7"], true, Some(wrong)), Err(Refusal::Unauthorized), "{wrong}");
        }
        assert_eq!(listen(&["pump-7"], false, Some("Bearer calls")), Err(Refusal::KeyForOthers));
        assert_eq!(listen(&["pump-7"], false, Some("Bearer old")), Err(Refusal::KeyExpired));
        assert_eq!(listen(&["local"], true, None), Ok(false));
        assert_eq!(listen(&["local"], false, None), Err(Refusal::Unauthorized));
        assert_eq!(listen(&["never"], true, Some("Bearer old")), Err(Refusal::ReservedDomain));
    }

    /// Calling is open where no rule says otherwise; a key that is not needed is told from what is none.
    #[test]
    fn calling_is_open_unless_a_rule_closes_it() {
        let rules = rules();
        let call =
            |name: &str, credentials: Option<&str>| rules.call(name.as_bytes(), &asked(credentials.map(str::as_bytes)));
        assert_eq!(call("door", None), Ok(false));
        assert_eq!(call("door", Some("Bearer nonsense")), Ok(false));
        assert_eq!(call("door", Some("Bearer listens")), Ok(true), "a key goes no further");
        assert_eq!(call("pump-7", None), Err(Refusal::CallUnauthorized));
        assert_eq!(call("pump-7", Some("Bearer calls")), Ok(true));
        assert_eq!(call("pump-8", Some("Bearer calls")), Err(Refusal::KeyForOthers));
        assert_eq!(call("pump-7", Some("Bearer listens")), Err(Refusal::KeyForOthers));
        assert_eq!(call("pump-7", Some("Bearer old")), Err(Refusal::KeyExpired));
    }

    /// Sources, methods and path prefixes narrow down what may be asked; a path that could be read as another one lies
    /// below no prefix.
    #[test]
    fn requests_can_be_narrowed_down() {
        let rule = Rule {
            sources: vec!["10.0.0.0/8".parse().unwrap()],
            methods: vec![b"GET".as_slice().into()],
            paths: vec![b"/status".as_slice().into(), b"/files/".as_slice().into()],
            ..OPEN
        };
        let rules = Rules::new(rule);
        let inside = super::super::conn::mapped("10.1.2.3".parse().unwrap());
        let outside = super::super::conn::mapped("11.1.2.3".parse().unwrap());
        let call = |source, method: &str, path: &str| {
            let asked = Asked { source, method: method.as_bytes(), path: Some(path.as_bytes()), credentials: None };
            rules.call(b"any", &asked).err()
        };
        assert_eq!(call(&inside, "GET", "/status"), None);
        assert_eq!(call(&inside, "GET", "/status/now?a=/../b"), None);
        assert_eq!(call(&inside, "GET", "/files/a.b"), None);
        assert_eq!(call(&outside, "GET", "/status"), Some(Refusal::SourceForbidden));
        assert_eq!(call(&inside, "get", "/status"), Some(Refusal::MethodForbidden));
        for other in [
            "/",
            "",
            "/statuses",
            "/files",
            "/Status",
            "/status/../admin",
            "/status/%2e%2E/admin",
            "/status//admin",
            "/status/..%2fadmin",
            "/status/%252e",
            "/status\\..\\admin",
            "/status/..;/admin",
            "/status/..%3B/admin",
            "/status/./x",
        ] {
            assert_eq!(call(&inside, "GET", other), Some(Refusal::PathForbidden), "{other}");
        }
    }

    /// After a change of the rules a gateway stays if its key, or the domain's openness, still lets it in.
    #[test]
    fn who_may_stay() {
        let before = rules();
        let id = before.listen([b"pump-7".as_slice()].into_iter(), false, Some(b"Bearer listens")).unwrap();
        let stays = |rules: &Rules, id| rules.may_stay([b"pump-7".as_slice()].into_iter(), true, id);
        assert!(stays(&before, id) && !stays(&before, None));
        let mut after = Rules::new(OPEN);
        assert!(!stays(&after, id));
        after.add_key(Key { expired: true, ..key("listens", &["*"], Rights::all()) }).unwrap();
        assert!(!stays(&after, id));
        assert!(stays(&Rules::new(Rule { listen: Listen::Local, ..OPEN }), None));
    }

    /// A slot's next connection has nothing of the one before it.
    #[test]
    fn keys_go_with_their_connection() {
        let mut registered = Registered::default();
        registered.registers(3, 1, None);
        assert!(registered.by_slot.is_empty());
        registered.registers(3, 1, Some(KeyId(7)));
        assert_eq!((registered.key(3, 1), registered.key(3, 2), registered.key(2, 1)), (Some(KeyId(7)), None, None));
        registered.revoke(3, 1);
        assert!(registered.is_revoked(3, 1) && !registered.is_revoked(3, 2) && registered.key(3, 1).is_none());
        registered.registers(3, 2, None);
        assert!(!registered.is_revoked(3, 2));
    }

    /// A hash is read as it is written, and nothing else is one.
    #[test]
    fn hashes_are_read_as_written() {
        let digest = Digest::of(b"key");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let text = digest.to_string();
        for bad in ["", "key", &text[7..], &text[..70], &format!("{text}0"), &text.replace('2', "g"), "sha256:ä"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    /// What a pattern matches, by trying every way there is.
    fn matches(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|n| matches(rest, &name[n..])),
            Some((&b, rest)) => name.first() == Some(&b) && matches(rest, &name[1..]),
        }
    }

    proptest! {
        /// A key is found in what was made of it, in either way; anything else holds one or none.
        #[test]
        fn keys_are_read_as_written(key in "[!-~]{1,64}", odd in prop::collection::vec(any::<u8>(), 0..700)) {
            let mut room = [0; CREDENTIALS_BYTES_MAX];
            let bearer = format!("BEARER {key}");
            prop_assert_eq!(key_in(bearer.as_bytes(), &mut room), Some(key.as_bytes()));
            let basic = format!("basic {}", STANDARD.encode(format!("some user:{key}")));
            prop_assert_eq!(key_in(basic.as_bytes(), &mut room), Some(key.as_bytes()));
            let _none_or_some = key_in(&[b"Basic ".as_slice(), &odd].concat(), &mut room);
            let _none_or_some = key_in(&odd, &mut room);
        }

        /// Patterns match what they stand for, wherever their stars are.
        #[test]
        fn patterns_match_what_they_stand_for(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(Pattern::new(&pattern).matches(name.as_bytes()), matches(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
