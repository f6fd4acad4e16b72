//! What can be wrong with PEM files, for those who made them.
use rustls::pki_types::pem::Error;

/// What is wrong with a file.
pub fn fault(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => {
            "it has none that can be read (one that is encrypted must be decrypted first, as by `openssl pkey`)"
                .to_owned()
        }
        Error::MissingSectionEnd { end_marker } => {
            format!("the line {:?} is missing: it was cut", String::from_utf8_lossy(end_marker))
        }
        Error::IllegalSectionStart { line } => {
            format!("{:?} is not how a section begins", String::from_utf8_lossy(line).trim())
        }
        Error::Base64Decode(_) => "what it has between BEGIN and END is not base64".to_owned(),
        other => other.to_string(),
    }
}
