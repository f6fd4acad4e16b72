//! Certificates and keys of the relay, and what it agrees to speak with them.
use super::records::{Broken, Records};
use crate::pem;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

/// Session tickets a handshake brings: each costs the relay 2 % of it, and a client uses one at a time.
const TICKETS: usize = 1;
/// What is spoken inside (ALPN, RFC 7301), the best first.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// A certificate's file and that of its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// Where a relay has its certificates from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// Files; the first one's is for clients that name no server, or one that none of them is for.
    Files(Vec<Files>),
    /// Made at the start, for these names, and signed by itself: to try things.
    SelfSigned(Vec<String>),
}

/// Why certificates cannot be used. The message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Not there, not readable, or without a certificate.
    #[error("cannot read a certificate from {at}: {1}; give a PEM file, the server's certificate first", at = .0.display())]
    Certificate(PathBuf, String),
    /// Not there, not readable, or without a key.
    #[error("cannot read a private key from {at}: {1}; give a PEM file with an unencrypted key", at = .0.display())]
    Key(PathBuf, String),
    /// They do not belong together, or are of a kind that is not supported.
    #[error("cannot use the certificate {at} with the key {key}: {2}", at = .0.display(), key = .1.display())]
    Pair(PathBuf, PathBuf, String),
    /// There is no way to make one.
    #[error("cannot make a certificate for {0}: {1}")]
    SelfSigned(String, String),
}

/// What a relay accepts TLS connections with.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    from: Certificates,
    now: Arc<Current>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Reads the certificates. One for all shards: they share the keys of session tickets.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn new(certificates: &Certificates) -> Result<Acceptor, Unusable> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let now = Arc::new(Current(RwLock::new(Arc::new(ByName::read(certificates, &provider)?))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&now) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.send_tls13_tickets = TICKETS;
        // Tickets hold the sessions: nothing of them is kept here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(Acceptor { config: Arc::new(config), from: certificates.clone(), now })
    }

    /// Accepts with a configuration that has certificates of its own, which [`Acceptor::reload`] does not change.
    pub fn given(config: ServerConfig) -> Acceptor {
        let now = Arc::new(Current(RwLock::new(Arc::new(ByName::default()))));
        Acceptor { config: Arc::new(config), from: Certificates::Files(Vec::new()), now }
    }

    /// Reads the certificates again, for all handshakes from now on, in all shards.
    ///
    /// # Errors
    /// See [`Unusable`]; then the old ones stay.
    pub fn reload(&self) -> Result<(), Unusable> {
        let found = ByName::read(&self.from, self.config.crypto_provider())?;
        *self.now.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
        Ok(())
    }

    /// The records of a new connection.
    pub(super) fn accept(&self) -> Result<Records, Broken> {
        Records::accept(&self.config)
    }
}

fn load(files: &Files, provider: &CryptoProvider) -> Result<CertifiedKey, Unusable> {
    let Files { certificate, key } = files;
    let bad = |error: rustls::pki_types::pem::Error| Unusable::Certificate(certificate.clone(), pem::fault(&error));
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(certificate).and_then(|found| found.collect::<Result<_, _>>()).map_err(bad)?;
    if chain.is_empty() {
        return Err(Unusable::Certificate(certificate.clone(), "it has none".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| Unusable::Key(key.clone(), pem::fault(&error)))?;
    CertifiedKey::from_der(chain, private, provider)
        .map_err(|error| Unusable::Pair(certificate.clone(), key.clone(), unfit(&error)))
}

/// Why a certificate and a key cannot be used together.
fn unfit(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "they do not belong together: give each certificate its own key".to_owned()
        }
        rustls::Error::General(_) => {
            format!("{error}; give a key of ECDSA P-256 or P-384, Ed25519, or RSA with at least 2048 bits")
        }
        rustls::Error::InvalidCertificate(_) => "the certificate is malformed".to_owned(),
        other => other.to_string(),
    }
}

fn self_signed(names: &[String], provider: &CryptoProvider) -> Result<CertifiedKey, Unusable> {
    let bad = |error: &dyn fmt::Display| Unusable::SelfSigned(names.join(", "), error.to_string());
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| bad(&error))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    CertifiedKey::from_der(vec![made.cert.der().clone()], key, provider).map_err(|error| bad(&error))
}

/// Chooses a certificate by the name that the client asks for (SNI, RFC 6066 §3).
#[derive(Debug, Default)]
struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the `*.`.
    wildcards: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl ByName {
    fn read(certificates: &Certificates, provider: &CryptoProvider) -> Result<ByName, Unusable> {
        let mut resolver = ByName::default();
        match certificates {
            Certificates::Files(files) => {
                for pair in files {
                    resolver.add(load(pair, provider)?);
                }
            }
            Certificates::SelfSigned(names) => resolver.add(self_signed(names, provider)?),
        }
        Ok(resolver)
    }

    /// Of two for one name the first counts.
    fn add(&mut self, key: CertifiedKey) {
        let key = Arc::new(key);
        if let Some(end_entity) = key.cert.first()
            && let Ok(certificate) = webpki::EndEntityCert::try_from(end_entity)
        {
            for name in certificate.valid_dns_names() {
                let name = name.to_ascii_lowercase();
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut self.wildcards, parent.to_owned()),
                    None => (&mut self.exact, name),
                };
                names.entry(name).or_insert_with(|| Arc::clone(&key));
            }
        }
        self.first.get_or_insert(key);
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.exact.get(&name).or_else(|| self.wildcards.get(parent?))
    }
}

/// The certificates that count now.
#[derive(Debug)]
struct Current(RwLock<Arc<ByName>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        hello.server_name().and_then(|name| now.find(name)).or(now.first.as_ref()).cloned()
    }
}

/// Pairs certificates with keys: the nth with the nth.
///
/// # Errors
/// There are more of one than of the other.
pub fn pair(certificates: Vec<PathBuf>, keys: Vec<PathBuf>) -> Result<Vec<Files>, String> {
    if certificates.len() != keys.len() {
        return Err(format!(
            "--cert is given {} times and --key {} times: each certificate needs its key, in the same \
                            order",
            certificates.len(),
            keys.len()
        ));
    }
    Ok(certificates.into_iter().zip(keys).map(|(certificate, key)| Files { certificate, key }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn resolver(names: &[&[&str]]) -> ByName {
        let provider = aws_lc_rs::default_provider();
        let mut resolver = ByName::default();
        for names in names {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            resolver.add(self_signed(&names, &provider).unwrap());
        }
        resolver
    }

    /// The exact name goes before the wildcard, which stands for one label; any case; who is not known gets none by name.
    #[test]
    fn certificates_are_chosen_by_name() {
        let resolver = resolver(&[&["first.example"], &["*.relay.example"], &["a.relay.example"]]);
        let found = |name: &str| resolver.find(name).map(|key| key.cert[0].clone());
        let exact = resolver.exact["a.relay.example"].cert[0].clone();
        let wild = resolver.wildcards["relay.example"].cert[0].clone();
        assert_eq!(found("a.relay.example"), Some(exact.clone()));
        assert_eq!(found("A.Relay.Example"), Some(exact));
        assert_eq!(found("b.relay.example"), Some(wild));
        for other in ["relay.example", "b.c.relay.example", "other.example", ""] {
            assert_eq!(found(other), None, "{other}");
        }
        assert!(resolver.first.is_some());
    }

    /// What cannot be used is named, with its file.
    #[test]
    fn unusable_files_are_named() {
        let here = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        for (certificate, key) in [("nowhere.pem", "nowhere.pem"), ("Cargo.toml", "Cargo.toml")] {
            let files = Files { certificate: here(certificate), key: here(key) };
            let error = Acceptor::new(&Certificates::Files(vec![files])).unwrap_err().to_string();
            assert!(error.contains(certificate), "{error}");
        }
        let folder = std::env::temp_dir().join(format!("ringback-unusable-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let cut = |pem: &str| pem[..pem.len() - 20].to_owned();
        for (certificate, key, words) in [
            (certificate.clone(), other.signing_key.serialize_pem(), "do not belong together"),
            (cut(&certificate), key.clone(), "was cut"),
            (certificate.clone(), cut(&key), "was cut"),
            (certificate.clone(), key.replace("PRIVATE", "ENCRYPTED PRIVATE"), "decrypted"),
            (certificate.clone(), key.replace("\nM", "\n*"), "not base64"),
            (String::new(), key, "it has none"),
        ] {
            let files = Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
            std::fs::write(&files.certificate, certificate).unwrap();
            std::fs::write(&files.key, key).unwrap();
            let error = Acceptor::new(&Certificates::Files(vec![files])).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(".pem"), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
        assert!(pair(vec![here("a")], Vec::new()).unwrap_err().contains("--key 0 times"));
    }
}
