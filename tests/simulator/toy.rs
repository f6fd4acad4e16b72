//! TLS without secrets and without chance: a provider for rustls whose every byte is the seed's.
//!
//! Only what must vary or cost time is a toy: random numbers, key exchange, signatures and the protection of records. Each
//! has one length. A record's checksum is over key, nonce, header and content, so that one that is lost, doubled, changed
//! or out of place is found out.
use ringback::io::sim::Random;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct,
    DistinguishedName, Error, NamedGroup, ProtocolVersion, ServerConfig, SignatureAlgorithm, SignatureScheme,
    SupportedCipherSuite, Tls13CipherSuite,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        ActiveKeyExchange, CipherSuiteCommon, CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, SharedSecret,
        SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs,
        cipher::{
            AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Nonce,
            OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
            UnsupportedOperationError, make_tls13_aad,
        },
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, Signer, SigningKey},
    time_provider::TimeProvider,
};
use std::{
    cell::RefCell,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// Bytes of a record's checksum.
const TAG: usize = 16;
/// What a record has besides its plaintext: header, content type and checksum.
pub const OVERHEAD: usize = 5 + 1 + TAG;
/// Bytes of a share in the key exchange, of which the secret is both together.
const SHARE: usize = 32;

thread_local! {
    /// A world has one thread, and a thread has one world at a time.
    static RANDOM: RefCell<Random> = RefCell::new(Random::new(0));
}

/// From here on, this thread's random numbers are those of a seed.
pub fn seed(seed: u64) {
    RANDOM.set(Random::new(seed));
}

fn fill(bytes: &mut [u8]) {
    let chunks = bytes.chunks_mut(8);
    RANDOM.with_borrow_mut(|random| {
        chunks.for_each(|some| some.copy_from_slice(&random.word().to_le_bytes()[..some.len()]))
    });
}

fn provider() -> CryptoProvider {
    static SUITE: LazyLock<Tls13CipherSuite> = LazyLock::new(|| {
        let SupportedCipherSuite::Tls13(real) = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256 else {
            panic!("a suite of TLS 1.3")
        };
        let common = CipherSuiteCommon {
            suite: CipherSuite::TLS13_AES_128_GCM_SHA256,
            hash_provider: real.common.hash_provider,
            confidentiality_limit: u64::MAX,
        };
        Tls13CipherSuite { common, hkdf_provider: real.hkdf_provider, aead_alg: &Toy, quic: None }
    });
    CryptoProvider {
        cipher_suites: vec![SupportedCipherSuite::Tls13(&SUITE)],
        kx_groups: vec![&Toy],
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        secure_random: &Toy,
        key_provider: &Toy,
    }
}

/// What the relay accepts with.
pub fn server() -> ServerConfig {
    let mut config = ServerConfig::builder_with_details(Arc::new(provider()), Arc::new(Toy))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a suite of this version")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Toy));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

/// What clients and gateways connect with.
pub fn client() -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_details(Arc::new(provider()), Arc::new(Toy))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a suite of this version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Toy))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// A connection that has said nothing yet.
pub fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("relay.test").expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a configuration that works")
}

/// All parts of the provider.
#[derive(Debug)]
struct Toy;

impl SecureRandom for Toy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(bytes);
        Ok(())
    }
}

impl TimeProvider for Toy {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000)))
    }
}

impl KeyProvider for Toy {
    fn load_private_key(&self, _key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Ok(Arc::new(Toy))
    }
}

impl SupportedKxGroup for Toy {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut share = [0; SHARE];
        fill(&mut share);
        Ok(Box::new(Share(share)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Share([u8; SHARE]);

impl ActiveKeyExchange for Share {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        if theirs.len() != SHARE {
            return Err(Error::General("a share of another length".to_owned()));
        }
        Ok(self.0.iter().zip(theirs).map(|(mine, theirs)| mine ^ theirs).collect::<Vec<_>>().into())
    }

    fn pub_key(&self) -> &[u8] {
        &self.0
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl SigningKey for Toy {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Toy))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Toy {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(checksum(0, &[message]).repeat(4))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl ResolvesServerCert for Toy {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificate = CertificateDer::from(vec![0x30; 700]);
        Some(Arc::new(CertifiedKey::new(vec![certificate], Arc::new(Toy))))
    }
}

impl ServerCertVerifier for Toy {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match signed.signature() == checksum(0, &[message]).repeat(4) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::General("another transcript was signed".to_owned())),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

impl Tls13AeadAlgorithm for Toy {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Protection { key: number(key.as_ref()), iv })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Protection { key: number(key.as_ref()), iv })
    }

    fn key_len(&self) -> usize {
        16
    }

    fn extract_keys(&self, _key: AeadKey, _iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// One direction's records.
struct Protection {
    key: u64,
    iv: Iv,
}

impl Protection {
    /// What a record's content is hidden with, and its checksum starts from.
    fn start(&self, sequence: u64) -> u64 {
        self.key ^ number(&Nonce::new(&self.iv, sequence).0)
    }
}

impl MessageEncrypter for Protection {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, sequence: u64) -> Result<OutboundOpaqueMessage, Error> {
        let total = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(total);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let start = self.start(sequence);
        let tag = checksum(start, &[&make_tls13_aad(total), payload.as_ref()]);
        hide(start, payload.as_mut());
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, len: usize) -> usize {
        len + 1 + TAG
    }
}

impl MessageDecrypter for Protection {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let total = message.payload.len();
        let len = total.checked_sub(TAG).ok_or(Error::DecryptError)?;
        let start = self.start(sequence);
        let (content, tag) = message.payload.split_at_mut(len);
        hide(start, content);
        if tag != checksum(start, &[&make_tls13_aad(total), content]) {
            return Err(Error::DecryptError);
        }
        message.payload.truncate(len);
        message.into_tls13_unpadded_message()
    }
}

/// Any bytes as a number, no two likely the same.
fn number(bytes: &[u8]) -> u64 {
    let sum = checksum(0, &[bytes]);
    u64::from_le_bytes(*sum.first_chunk().expect("sixteen bytes"))
}

/// Hides bytes, or uncovers them.
fn hide(start: u64, bytes: &mut [u8]) {
    let mut random = Random::new(start);
    for some in bytes.chunks_mut(8) {
        some.iter_mut().zip(random.word().to_le_bytes()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

fn checksum(start: u64, parts: &[&[u8]]) -> [u8; TAG] {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (mut one, mut two) = (start ^ ODD, start.rotate_left(32));
    for part in parts {
        for some in part.chunks(8) {
            let mut word = [0; 8];
            word[..some.len()].copy_from_slice(some);
            one = (one ^ u64::from_le_bytes(word)).wrapping_mul(ODD);
            one ^= one >> 29;
            two = two.rotate_left(23).wrapping_add(one);
        }
        one = (one ^ part.len() as u64).wrapping_mul(ODD);
    }
    one = (one ^ (one >> 32)).wrapping_mul(ODD);
    two = (two ^ one ^ (two >> 31)).wrapping_mul(ODD);
    let mut sum = [0; TAG];
    sum[..8].copy_from_slice(&(one ^ (one >> 32)).to_le_bytes());
    sum[8..].copy_from_slice(&(two ^ (two >> 29)).to_le_bytes());
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::ServerConnection;
    use std::io::{Read, Write};

    /// Carries what one has sealed to the other, in pieces. Returns what was carried.
    fn carry<A, B>(
        from: &mut rustls::ConnectionCommon<A>,
        to: &mut rustls::ConnectionCommon<B>,
        random: &mut Random,
    ) -> Vec<u8> {
        let mut sealed = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut sealed).unwrap();
        }
        let mut rest = &sealed[..];
        while !rest.is_empty() {
            let (mut piece, behind) = rest.split_at(random.part(rest.len()));
            while !piece.is_empty() {
                to.read_tls(&mut piece).unwrap();
                to.process_new_packets().unwrap();
            }
            rest = behind;
        }
        sealed
    }

    fn talk(of: u64) -> Vec<u8> {
        seed(of);
        let mut random = Random::new(of);
        let mut client = connection(&client());
        let mut server = ServerConnection::new(Arc::new(server())).unwrap();
        let mut wire = Vec::new();
        let (mut said, mut heard) = (Vec::new(), Vec::new());
        while client.is_handshaking() || server.is_handshaking() {
            wire.extend(carry(&mut client, &mut server, &mut random));
            wire.extend(carry(&mut server, &mut client, &mut random));
        }
        for _ in 0..20 {
            let bytes: Vec<u8> = (0..random.below(3000)).map(|n| n as u8).collect();
            client.writer().write_all(&bytes).unwrap();
            said.extend(bytes);
            wire.extend(carry(&mut client, &mut server, &mut random));
            let there = server.process_new_packets().unwrap().plaintext_bytes_to_read() as u64;
            server.reader().take(there).read_to_end(&mut heard).unwrap();
        }
        assert!(said == heard, "what is heard is what was said");
        wire
    }

    /// Both sides understand each other however their bytes are split, and a seed's bytes are always the same.
    #[test]
    fn a_seed_has_one_conversation() {
        for of in 0..50 {
            assert!(talk(of) == talk(of), "seed {of}");
            assert!(talk(of) != talk(of + 1), "seed {of}");
        }
    }

    /// A record with any byte changed, or in another's place, is not opened.
    #[test]
    fn records_are_protected() {
        let sum = checksum(1, &[b"header", b"content"]);
        for other in [
            checksum(2, &[b"header", b"content"]),
            checksum(1, &[b"headex", b"content"]),
            checksum(1, &[b"header", b"contenu"]),
            checksum(1, &[b"header", b"content\0"]),
            checksum(1, &[b"headerc", b"ontent"]),
        ] {
            assert_ne!(sum, other);
        }
    }
}
