//! Whom the gateway and the tunnel client trust when they speak TLS.
use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

use super::Error;
use crate::pem;

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Whom this system trusts.
    #[default]
    System,
    /// Those with certificates by the authorities in these PEM files, or with one of the files' own, and nobody else.
    Only(Vec<PathBuf>),
    /// Everybody: what is sent can be read and changed on the way.
    Anybody,
}

impl Trust {
    /// What TLS connections are made with.
    ///
    /// # Errors
    /// [`Error::Authorities`] for files that hold no certificate, and a system that has none.
    pub fn establish(&self) -> Result<Trusted, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions");
        let builder = match self {
            Trust::System => {
                let system = |error: rustls::Error| {
                    Error::Authorities("the system's certificates".to_owned(), error.to_string())
                };
                builder.with_platform_verifier().map_err(system)?
            }
            Trust::Only(files) => {
                let whom = Whom::listed(files, Arc::clone(&provider))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { provider, whom }))
            }
            Trust::Anybody => {
                let whom = Whom::Anybody;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { provider, whom }))
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Trusted(Arc::new(config)))
    }
}

/// What TLS connections are made with: one for all of a program's, so that sessions are resumed.
#[derive(Clone, Debug)]
pub struct Trusted(pub(super) Arc<ClientConfig>);

fn read(files: &[PathBuf]) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let (mut roots, mut listed) = (RootCertStore::empty(), Vec::new());
    for file in files {
        let bad = |what: String| Error::Authorities(file.display().to_string(), what);
        let found = CertificateDer::pem_file_iter(file).map_err(|error| bad(pem::fault(&error)))?;
        let before = listed.len();
        for certificate in found {
            let certificate = certificate.map_err(|error| bad(pem::fault(&error)))?;
            roots.add(certificate.clone()).map_err(|error| bad(error.to_string()))?;
            listed.push(certificate);
        }
        if listed.len() == before {
            return Err(bad("it has no certificate".to_owned()));
        }
    }
    Ok((roots, listed))
}

/// Checks certificates where the system is not asked.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    whom: Whom,
}

#[derive(Debug)]
enum Whom {
    /// Whoever has the key of the certificate shown.
    Anybody,
    /// Those that the authorities have signed, and those listed themselves: `openssl req -x509` makes a server's
    /// certificate that is its own authority, which webpki takes for either, never for both.
    Listed(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>),
}

impl Whom {
    fn listed(files: &[PathBuf], provider: Arc<CryptoProvider>) -> Result<Whom, Error> {
        let (roots, listed) = read(files)?;
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let bad = |error: VerifierBuilderError| Error::Authorities("--ca".to_owned(), error.to_string());
        Ok(Whom::Listed(authorities.map_err(bad)?, listed))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Whom::Listed(authorities, listed) = &self.whom else { return Ok(ServerCertVerified::assertion()) };
        if !listed.contains(end_entity) {
            return authorities.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        }
        let bad = |_| rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        let certificate = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        certificate.verify_is_valid_for_subject_name(name).map_err(bad)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What to tell the user of a connection that TLS has ended.
pub(super) fn explain(error: &rustls::Error) -> String {
    use CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return match error {
            rustls::Error::InvalidMessage(_) => {
                "what answers there does not speak TLS: is it a port for plain HTTP, to be reached by http://?"
                    .to_owned()
            }
            other => format!("TLS: {other}"),
        };
    };
    match bad {
        // So it is if another authority has the same name, and if the certificate is its own authority.
        Bad::UnknownIssuer | Bad::BadSignature | Bad::Other(_) => {
            "its certificate is by an authority that is not trusted here: give that one's certificate, or its own, with --ca"
        }
        Bad::NotValidForName => "its certificate is for another host name than the one that it was reached by",
        Bad::NotValidForNameContext { expected, presented } => {
            return format!("its certificate is for {}, not for {}", presented.join(", "), expected.to_str());
        }
        Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired, or the clock of this machine is wrong",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or the clock of this machine is wrong"
        }
        Bad::Revoked => "its certificate has been revoked",
        Bad::BadEncoding => "its certificate is malformed",
        _ => return format!("its certificate cannot be trusted: {error}"),
    }
    .to_owned()
}
