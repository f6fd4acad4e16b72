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
                let system = |error: rustls::Error| Error::Authorities("the system's".to_owned(), error.to_string());
                builder.with_platform_verifier().map_err(system)?
            }
            Trust::Only(files) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Listed::of(files, provider)?))
            }
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))),
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
        let found = CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))?;
        let before = listed.len();
        for certificate in found {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate.clone()).map_err(|error| bad(error.to_string()))?;
            listed.push(certificate);
        }
        if listed.len() == before {
            return Err(bad("it has no certificate".to_owned()));
        }
    }
    Ok((roots, listed))
}

/// Trusts what the given authorities have signed, and the given certificates themselves: `openssl req -x509` makes a
/// server's certificate that is its own authority, which webpki takes for either, never for both.
#[derive(Debug)]
struct Listed {
    authorities: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl Listed {
    fn of(files: &[PathBuf], provider: Arc<CryptoProvider>) -> Result<Listed, Error> {
        let (roots, listed) = read(files)?;
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let bad = |error: VerifierBuilderError| Error::Authorities("the given".to_owned(), error.to_string());
        Ok(Listed { authorities: authorities.map_err(bad)?, listed })
    }
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !self.listed.contains(end_entity) {
            return self.authorities.verify_server_cert(end_entity, intermediates, name, ocsp, now);
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
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Takes any certificate; that its holder has the key is still checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
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
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
