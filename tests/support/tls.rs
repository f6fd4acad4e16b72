//! Peers that speak TLS to the relay: a thread turns a plain connection, which the test drives, into records and back.
//! FIN becomes close_notify and FIN, and the other way round; a reset, or an end without close_notify, a reset.
use rustls::{
    ClientConfig, ClientConnection, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// TLS of one version, with whatever certificate.
pub fn config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]);
    let builder = builder.expect("a version that there is").dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A TLS connection before its handshake.
pub fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a configuration that works")
}

/// Connects by TLS; what is returned is the plain side.
pub fn connect(to: SocketAddr, config: &Arc<ClientConfig>) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a listener");
    let plain = listener.accept().expect("a connection").0;
    let tls = TcpStream::connect(to).expect("the relay accepts");
    for socket in [&plain, &tls] {
        socket.set_nodelay(true).expect("a socket option");
    }
    let connection = Arc::new(Mutex::new(connection(config)));
    let (plain_out, tls_out) = (plain.try_clone().expect("a descriptor"), tls.try_clone().expect("a descriptor"));
    let shared = Arc::clone(&connection);
    // Nobody may write before the handshake: all of it is done here.
    let mut first = tls.try_clone().expect("a descriptor");
    while connection.lock().expect("no panic").is_handshaking() {
        let mut connection = connection.lock().expect("no panic");
        if connection.complete_io(&mut first).is_err() {
            reset(&plain);
            return near;
        }
    }
    thread::spawn(move || seal(plain, tls_out, &shared));
    thread::spawn(move || open(tls, plain_out, &connection));
    near
}

fn reset(socket: &TcpStream) {
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// What the test sends.
fn seal(mut plain: TcpStream, mut tls: TcpStream, connection: &Mutex<ClientConnection>) {
    let mut bytes = [0; 16 << 10];
    loop {
        let read = plain.read(&mut bytes);
        // The lock is held while writing: records must not overtake each other.
        let mut connection = connection.lock().expect("no panic");
        match read {
            Ok(0) => connection.send_close_notify(),
            Ok(len) => connection.writer().write_all(&bytes[..len]).expect("room without limit"),
            Err(_) => {
                reset(&tls);
                let _ = tls.shutdown(Shutdown::Both);
                return;
            }
        }
        while connection.wants_write() {
            if connection.write_tls(&mut tls).is_err() {
                return;
            }
        }
        if matches!(read, Ok(0)) {
            let _ = tls.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// What the test receives.
fn open(mut tls: TcpStream, mut plain: TcpStream, connection: &Mutex<ClientConnection>) {
    let mut bytes = vec![0; 16 << 10];
    let mut opened = Vec::new();
    loop {
        let read = match tls.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(len) => len,
            Err(_) => 0,
        };
        let mut rest = &bytes[..read];
        let mut over = read == 0;
        opened.clear();
        {
            let mut connection = connection.lock().expect("no panic");
            while !rest.is_empty() {
                let fed = connection.read_tls(&mut rest).expect("room");
                match connection.process_new_packets() {
                    Ok(state) => {
                        let _ =
                            connection.reader().take(state.plaintext_bytes_to_read() as u64).read_to_end(&mut opened);
                        if state.peer_has_closed() {
                            let _ = plain.write_all(&opened);
                            let _ = plain.shutdown(Shutdown::Write);
                            return;
                        }
                    }
                    Err(_) => over = true,
                }
                if fed == 0 || over {
                    break;
                }
            }
        }
        if plain.write_all(&opened).is_err() || over {
            // Not an end in order.
            reset(&plain);
            let _ = plain.shutdown(Shutdown::Both);
            return;
        }
    }
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS 1.3 whose keys can be had, for [`Sealer`].
pub fn extracting() -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&config(&rustls::version::TLS13));
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// Seals records of any content: what a library would not send.
pub struct Sealer {
    key: ::aws_lc_rs::aead::LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Sealer {
    /// For what a client sends from now on.
    pub fn of(connection: ClientConnection) -> Sealer {
        use rustls::ConnectionTrafficSecrets as Secrets;
        let (sequence, secrets) = connection.dangerous_extract_secrets().expect("a handshake that is over").tx;
        let (algorithm, key, iv) = match &secrets {
            Secrets::Aes128Gcm { key, iv } => (&::aws_lc_rs::aead::AES_128_GCM, key, iv),
            Secrets::Aes256Gcm { key, iv } => (&::aws_lc_rs::aead::AES_256_GCM, key, iv),
            _ => panic!("another suite"),
        };
        let unbound = ::aws_lc_rs::aead::UnboundKey::new(algorithm, key.as_ref()).expect("a key of the right length");
        let iv = iv.as_ref().try_into().expect("twelve bytes");
        Sealer { key: ::aws_lc_rs::aead::LessSafeKey::new(unbound), iv, sequence }
    }

    /// One record (RFC 8446 §5.2).
    pub fn seal(&mut self, content: u8, bytes: &[u8]) -> Vec<u8> {
        let mut nonce = self.iv;
        nonce.iter_mut().skip(4).zip(self.sequence.to_be_bytes()).for_each(|(byte, sequence)| *byte ^= sequence);
        self.sequence += 1;
        let mut inner = [bytes, &[content]].concat();
        let len = u16::try_from(inner.len() + 16).expect("a record's length").to_be_bytes();
        let header = [23, 3, 3, len[0], len[1]];
        let nonce = ::aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, ::aws_lc_rs::aead::Aad::from(header), &mut inner).expect("it fits");
        [&header[..], &inner].concat()
    }
}
