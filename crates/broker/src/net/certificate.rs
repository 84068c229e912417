//! The certificate and the key of TLS, from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};

/// Why there is no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{}: {error}", .file.display())]
    Unreadable {
        /// Its name.
        file: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// There is no certificate in the file, or one that is damaged.
    #[error("{}: no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)", .0.display())]
    NoCertificate(PathBuf),
    /// There is no key in the file, or one that is damaged.
    #[error("{}: no private key in PEM form (`-----BEGIN PRIVATE KEY-----`)", .0.display())]
    NoKey(PathBuf),
    /// The key can only be used with a password.
    #[error("{}: the key is encrypted; `openssl pkey` writes it without a password", .0.display())]
    Encrypted(PathBuf),
    /// Each is good, and they do not fit together.
    #[error(
        "{}: the key belongs to another certificate than the first one in {}, which has to be the server's own",
        .key.display(),
        .certificate.display()
    )]
    Mismatch {
        /// The file of the certificates.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// They are of a kind that is not known.
    #[error("{}: {error}", .file.display())]
    Unusable {
        /// The file of the key.
        file: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}

/// TLS 1.2 and 1.3 with the chain of certificates in one file, the server's own first, and its key in another.
///
/// # Errors
///
/// If a file cannot be read, has something else in it, or the key is that of another certificate.
pub fn tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|error| CertificateError::Unreadable { file: file.to_owned(), error })
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate(certificate.to_owned()));
    }
    let pem = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let is_encrypted = pem.windows(9).any(|text| text == b"ENCRYPTED");
        if is_encrypted { CertificateError::Encrypted(key.to_owned()) } else { CertificateError::NoKey(key.to_owned()) }
    })?;
    config(chain, private).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            CertificateError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
        }
        error => CertificateError::Unusable { file: key.to_owned(), error },
    })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    // Clients that come back need no new signature, and the broker keeps nothing for them.
    config.ticketer = ring::Ticketer::new()?;
    Ok(Arc::new(config))
}
