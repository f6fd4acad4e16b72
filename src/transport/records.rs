//! TLS records and handshakes of one connection: the one file that knows rustls' unbuffered interface.
//!
//! It keeps no bytes: what is received is opened where it lies, and what is to be sent is appended to the caller's memory. But
//! it knows how far it has come in bytes that begin something, so those have to be there at each call.
use rustls::{
    ProtocolVersion, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus},
};
use std::sync::Arc;

/// What sealing adds to a record at most: header, content type and tag, or TLS 1.2's explicit nonce.
const RECORD_OVERHEAD: usize = 64;
/// Plaintext bytes of a full record (RFC 8446 §5.1).
pub const RECORD_BYTES: usize = 16_384;

/// After so many bytes the keys that they were sealed with are renewed (TLS 1.3). Peers that count what they get ask for new
/// keys after 2^37 (Java), with every record that they get until those are there: far more often than is allowed, if much is
/// under way.
const RENEW_BYTES: u64 = 1 << 35;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The handshake waits for the peer.
    Handshake,
    /// Both may send.
    Open,
    /// The peer has said that it sends no more (close_notify).
    Finished,
}

/// The connection cannot go on; what tells the peer so has been appended to what is to be sent.
#[derive(Debug)]
pub struct Broken;

/// One connection.
pub struct Records {
    connection: UnbufferedServerConnection,
    finished: bool,
    /// Bytes that were sealed with the present keys.
    sealed: u64,
}

impl Records {
    /// A connection that waits for its ClientHello.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn accept(config: &Arc<ServerConfig>) -> Result<Records, Broken> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config)).map_err(|_| Broken)?;
        Ok(Records { connection, finished: false, sealed: 0 })
    }

    /// Opens the records in `bytes`: appends their plaintext to `opened`, and what the peer must be sent to `replies`.
    /// Returns how many bytes are done with. The others begin something whose end has not come: they must be given again, as
    /// they then are, whatever is called next.
    ///
    /// # Errors
    /// The peer breaks the protocol, or its handshake cannot succeed.
    pub fn open(
        &mut self,
        bytes: &mut [u8],
        opened: &mut Vec<u8>,
        replies: &mut Vec<u8>,
    ) -> Result<(usize, Progress), Broken> {
        let mut done = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut bytes[done..]);
            let progress = match state {
                Err(_) => {
                    done += discard;
                    self.alert(&mut bytes[done..], replies);
                    return Err(Broken);
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        opened.extend_from_slice(record.map_err(|_| Broken)?.payload);
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(replies, |room| data.encode(room).map_err(lacking_to_encode));
                    None
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => {
                    sent.done();
                    None
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.finished = true;
                    Some(Progress::Finished)
                }
                Ok(ConnectionState::WriteTraffic(_)) if self.finished => Some(Progress::Finished),
                Ok(ConnectionState::WriteTraffic(_)) => Some(Progress::Open),
                Ok(ConnectionState::BlockedHandshake) => Some(Progress::Handshake),
                // Early data are never accepted, so there are none to be read.
                Ok(_) => Some(Progress::Handshake),
            };
            done += discard;
            if let Some(progress) = progress {
                return Ok((done, progress));
            }
        }
    }

    /// Appends the alert that says why a connection broke. `rest` is what it had not done with.
    fn alert(&mut self, rest: &mut [u8], replies: &mut Vec<u8>) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(rest).state {
            append(replies, |room| data.encode(room).map_err(lacking_to_encode));
        }
    }

    /// Seals `bytes` into records, behind whatever the connection itself has to say. Returns how many bytes of `into` they
    /// are; [`sealed_bytes`] says how many there must be room for. `begun` is what [`Records::open`] was not done with. To be
    /// called only while the connection is open.
    ///
    /// # Errors
    /// The connection may not send any more.
    pub fn seal(&mut self, bytes: &[u8], begun: &mut Vec<u8>, into: &mut [u8]) -> Result<usize, Broken> {
        if self.sealed >= RENEW_BYTES {
            self.renew(begun);
        }
        self.sealed += bytes.len() as u64;
        let mut at = 0;
        while !self.is_ready(begun, &mut |data| {
            at += data.encode(&mut into[at..]).map_err(|_| Broken)?;
            Ok(())
        })? {}
        match self.connection.process_tls_records(begun).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.encrypt(bytes, &mut into[at..]).map(|sealed| at + sealed).map_err(|_| Broken)
            }
            _ => Err(Broken),
        }
    }

    /// Has the next records begin with new keys.
    #[cold]
    fn renew(&mut self, begun: &mut [u8]) {
        self.sealed = 0;
        if self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && let Ok(ConnectionState::WriteTraffic(traffic)) = self.connection.process_tls_records(begun).state
        {
            // The peer has asked for them at the same time, if this fails.
            let _ = traffic.refresh_traffic_keys();
        }
    }

    /// Appends a close_notify: nothing follows it. `begun` as for [`Records::seal`].
    pub fn close(&mut self, begun: &mut Vec<u8>, sealed: &mut Vec<u8>) {
        // Without it the peer learns less than it could, and that is all.
        while let Ok(false) = self.is_ready(begun, &mut |data| {
            append(sealed, |room| data.encode(room).map_err(lacking_to_encode));
            Ok(())
        }) {}
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = self.connection.process_tls_records(begun).state {
            append(sealed, |room| traffic.queue_close_notify(room).map_err(lacking_to_encrypt));
        }
    }

    /// Whether the connection has nothing to say itself; if it has, that is said.
    fn is_ready(
        &mut self,
        begun: &mut Vec<u8>,
        say: &mut impl FnMut(&mut EncodeTlsData<'_, ServerConnectionData>) -> Result<(), Broken>,
    ) -> Result<bool, Broken> {
        // The deframer knows how far it has come in these very bytes, and relies on their being there.
        let UnbufferedStatus { discard, state } = self.connection.process_tls_records(begun);
        let ready = match state.map_err(|_| Broken)? {
            ConnectionState::WriteTraffic(_) => true,
            ConnectionState::EncodeTlsData(mut data) => {
                say(&mut data)?;
                false
            }
            ConnectionState::TransmitTlsData(sent) => {
                sent.done();
                false
            }
            // Said once, when it was received.
            ConnectionState::PeerClosed => false,
            _ => return Err(Broken),
        };
        begun.drain(..discard);
        Ok(ready)
    }
}

/// Room for so many sealed bytes, and for what a connection may have to say before them.
pub const fn sealed_bytes(plain: usize) -> usize {
    plain + (plain / RECORD_BYTES + 1) * RECORD_OVERHEAD + 4096
}

/// How many bytes more are needed; `None` for an error that more room does not mend.
type Lacking = Option<usize>;

fn lacking_to_encode(error: EncodeError) -> Lacking {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn lacking_to_encrypt(error: EncryptError) -> Lacking {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncryptError::EncryptExhausted => None,
    }
}

/// Appends what `write` puts into the room that it asks for.
fn append(to: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, Lacking>) {
    let before = to.len();
    let mut room = 0;
    loop {
        to.resize(before + room, 0);
        match write(&mut to[before..]) {
            Ok(written) => return to.truncate(before + written),
            Err(Some(needed)) if needed > room => room = needed,
            Err(_) => return to.truncate(before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::PrivatePkcs8KeyDer};
    use std::io::{Read, Write};

    /// A connection whose handshake is over, and its client.
    fn connected() -> (Records, ClientConnection) {
        let pair = rcgen::generate_simple_self_signed(vec!["relay.test".to_owned()]).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(pair.cert.der().clone()).expect("a root");
        let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()).into();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key);
        let mut records = Records::accept(&Arc::new(config.expect("it fits"))).expect("a connection");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = "relay.test".try_into().expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        while client.is_handshaking() {
            let replies = opened(&mut records, &mut client);
            heard(&mut client, &replies);
        }
        let replies = opened(&mut records, &mut client);
        heard(&mut client, &replies);
        (records, client)
    }

    /// What the connection replies to all that the client has to say.
    fn opened(records: &mut Records, client: &mut ClientConnection) -> Vec<u8> {
        let (mut said, mut opened, mut replies) = (Vec::new(), Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut said).expect("memory");
        }
        let (done, _) = records.open(&mut said, &mut opened, &mut replies).expect("both keep the protocol");
        assert_eq!(done, said.len());
        replies
    }

    /// What the client makes of records.
    fn heard(client: &mut ClientConnection, mut sealed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !sealed.is_empty() {
            client.read_tls(&mut sealed).expect("memory");
            client.process_new_packets().expect("the connection keeps the protocol");
            let _ = client.reader().read_to_end(&mut plain);
        }
        plain
    }

    /// What is sealed before and behind a renewal of the keys arrives, and the client renews its own.
    #[test]
    fn keys_are_renewed_between_records() {
        let (mut records, mut client) = connected();
        let (mut begun, mut room) = (Vec::new(), vec![0; sealed_bytes(100)]);
        let mut lens = Vec::new();
        for sealed in [0, RENEW_BYTES - 100, RENEW_BYTES, 0] {
            records.sealed = sealed;
            let len = records.seal(&[7; 100], &mut begun, &mut room).expect("it is open");
            assert_eq!(heard(&mut client, &room[..len]), [7; 100]);
            lens.push(len);
        }
        // A KeyUpdate is a record of five bytes, as large as what is around it.
        assert_eq!(lens[2], lens[0] + 5 + 1 + 16 + 5);
        assert_eq!((lens[1], lens[3]), (lens[0], lens[0]));
        assert_eq!(records.sealed, 100);
        // The client answers a KeyUpdate with its own, before what it sends next.
        client.writer().write_all(b"on").expect("memory");
        assert!(opened(&mut records, &mut client).is_empty());
    }
}
