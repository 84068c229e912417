//! TLS: whom to believe that a server is who it says, and what to do about one that is not.

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, InvalidMessage, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::SocketEvent;

/// A connection, with TLS or without.
pub(crate) type Stream = Box<dyn Duplex>;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(crate) fn plain(stream: TcpStream) -> Stream {
    Box::new(stream)
}

/// Whom a session trusts. Clones share what was made of it, and with it the tickets by which a handshake is short when a
/// session comes back.
#[derive(Clone)]
pub(crate) struct Trust {
    /// PEM, beside what the system trusts.
    added: Vec<Arc<[u8]>>,
    config: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Default for Trust {
    /// The authorities that the system trusts.
    fn default() -> Self {
        // The same for all sessions of the process: the system has more than a hundred.
        static SYSTEM: LazyLock<Trust> =
            LazyLock::new(|| Trust { added: Vec::new(), config: Arc::new(OnceCell::new()) });
        SYSTEM.clone()
    }
}

impl Trust {
    /// Trusts the authorities in this PEM as well.
    pub fn add(&mut self, pem: &[u8]) {
        self.added.push(pem.into());
        self.config = Arc::new(OnceCell::new());
    }

    /// Prepares a connection to `host`. Nothing is wrong with the server if it fails, and says why.
    pub async fn prepare(&self, host: &str) -> Result<Prepared, String> {
        let name =
            ServerName::try_from(host).map_err(|_| format!("{host} is neither a host name nor an IP address"))?;
        let config = self.config.get_or_try_init(|| async {
            let added = self.added.clone();
            // Certificates are read from files.
            let config = tokio::task::spawn_blocking(move || config(&added)).await;
            config.map_err(|_| "the tokio runtime stops".to_owned())?
        });
        Ok(Prepared { name: name.to_owned(), connector: config.await?.clone().into() })
    }
}

/// What a TLS handshake takes.
pub(crate) struct Prepared {
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Prepared {
    pub async fn shake_hands(self, stream: TcpStream) -> Result<Stream, SocketEvent> {
        let name = self.name.to_str().into_owned();
        match self.connector.connect(self.name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(failure(&name, &error)),
        }
    }
}

fn config(added: &[Arc<[u8]>]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    for pem in added {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().unwrap_or_default();
        if certificates.is_empty() {
            let text = "the trusted roots are no certificates in PEM form (`-----BEGIN CERTIFICATE-----`)";
            return Err(text.to_owned());
        }
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| format!("a certificate of the trusted roots is damaged: {error}"))?;
        }
    }
    if roots.is_empty() {
        let reason = system.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let cure = "install those of the system (package ca-certificates), set SSL_CERT_FILE, or use \
                    `Options::trusted_roots`";
        return Err(format!("there are no certificates of authorities here{reason}: {cure}"));
    }
    // The provider is named: a program may have another one for all else.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // WebSockets are opened by nothing else here.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a handshake came to that failed.
fn failure(host: &str, error: &io::Error) -> SocketEvent {
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(fault) => SocketEvent::Gone { reason: format!("{host}: {}", said_of(host, fault)), can_pass: false },
        None => {
            SocketEvent::Gone { reason: format!("{host}: the TLS handshake was broken off: {error}"), can_pass: true }
        }
    }
}

/// What is wrong, and what to do.
fn said_of(host: &str, fault: &rustls::Error) -> String {
    let fault = match fault {
        rustls::Error::InvalidCertificate(fault) => fault,
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return "what answers there does not speak TLS; is it a ws:// address?".to_owned();
        }
        rustls::Error::AlertReceived(_) => return format!("the server refused the TLS handshake: {fault}"),
        _ => return format!("the TLS handshake failed: {fault}"),
    };
    match fault {
        CertificateError::UnknownIssuer => {
            "its certificate is from an authority that is not trusted here; if it should be, give the authority's \
             certificate to `Options::trusted_roots` or to the system, or set SSL_CERT_FILE. A server has to send the \
             certificates between its own and that one as well"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate is from an authority that has the name of one that is trusted here, but another key; trust \
             the certificate that this authority has now"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("its certificate is for {}; connect by a name that it has, or get it one for {host}", list(presented))
        }
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = duration(time.as_secs().saturating_sub(not_after.as_secs()));
            format!("its certificate expired {ago} ago; it has to be renewed, if the clock of this machine is right")
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let until = duration(not_before.as_secs().saturating_sub(time.as_secs()));
            format!("its certificate is not valid before {until} from now; is the clock of this machine right?")
        }
        // `webpki` is not ours to name, and its errors are told by their text.
        CertificateError::Other(error) if error.0.to_string() == "CaUsedAsEndEntity" => {
            "its certificate is one of an authority (`CA:TRUE`), and cannot be the server's own; `docs/tls.md` says how \
             to make one"
                .to_owned()
        }
        _ => format!("its certificate is not accepted: {fault}"),
    }
}

/// The names that a certificate has, of which a server may make as many as it likes.
fn list(presented: &[String]) -> String {
    const SHOWN: usize = 5;
    // `DnsName("example.org")`, `IpAddress(10.0.0.1)`
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let names = presented.iter().take(SHOWN).map(bare).collect::<Vec<_>>().join(", ");
    match presented.len() {
        0 => "no name".to_owned(),
        1..=SHOWN => names,
        more => format!("{names} and {} others", more - SHOWN),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
