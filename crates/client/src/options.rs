//! The options of [`connect`](crate::connect), and the address of a server.

use std::time::Duration;

use antiphon_protocol::client::{ClientConfig, ConnectCode, ConnectError};
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::handshake::Credentials;

use crate::lock::Ref;
use crate::platform::{self, BoxFuture, MaybeSend, MaybeSync, SharedFn, Trust};

/// The options of a session. What is not set is as `Options::new()` says.
///
/// ```
/// # use std::time::Duration;
/// # use antiphon_client::Options;
/// let options = Options::new()
///     .principal("control")
///     .password("password")
///     .property("team", "blue")
///     .request_timeout(Duration::from_secs(5));
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) config: ClientConfig,
    pub(crate) credentials: CredentialsSource,
    /// How long to wait before an attempt to reconnect, counted from 1.
    pub(crate) retry_delay: Option<SharedFn<u32, Duration>>,
    pub(crate) trust: Trust,
}

/// Gives credentials for each connection, or says why there are none.
type CredentialsSource = SharedFn<(), BoxFuture<Result<Credentials, String>>>;

impl Options {
    /// Anonymous; ten seconds for connecting, thirty for a request, sixty for finding another connection.
    #[must_use]
    pub fn new() -> Self {
        let config = ClientConfig {
            client_type: platform::CLIENT_TYPE,
            properties: vec![("$Environment".to_owned(), platform::environment())],
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(60),
            // A value of 32 MiB, and what goes with it.
            max_message_size: (32 << 20) + (256 << 10),
            features: Features::ALL,
            ..ClientConfig::default()
        };
        Self { config, credentials: always(Credentials::None), retry_delay: None, trust: Trust::default() }
    }

    /// Who connects. Default: nobody in particular.
    #[must_use]
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.config.principal = Some(principal.into());
        self
    }

    /// Proves who the principal is, by a password.
    #[must_use]
    pub fn password(self, password: impl Into<String>) -> Self {
        self.credentials(Credentials::Password(password.into()))
    }

    /// Proves who the principal is.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = always(credentials);
        self
    }

    /// A function that is asked for credentials at every connection, and again before those of the session expire. What it
    /// fails with becomes the reason why there is no connection.
    #[must_use]
    pub fn credentials_from<F, A, E>(mut self, ask: F) -> Self
    where
        F: Fn() -> A + MaybeSend + MaybeSync + 'static,
        A: Future<Output = Result<Credentials, E>> + MaybeSend + 'static,
        E: ToString + 'static,
    {
        self.credentials = Ref::new(move |()| {
            let asked = ask();
            Box::pin(async {
                asked.await.map_err(|error| format!("the credentials function failed: {}", error.to_string()))
            })
        });
        self
    }

    /// Propose a session property. May be called several times.
    #[must_use]
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.properties.push((key.into(), value.into()));
        self
    }

    /// From the call to the session. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// For requests that name none, and for all else that is asked of the server. Default: 30 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = timeout;
        self
    }

    /// How long the server is asked to keep the session when its connection is lost, and how long the client looks for
    /// another one; zero for not at all. Default: 60 s.
    #[must_use]
    pub fn reconnect_timeout(mut self, timeout: Duration) -> Self {
        self.config.reconnect_timeout = timeout;
        self
    }

    /// How long to wait before an attempt to reconnect, counted from 1. Default: a random part of 100 ms, doubling up to
    /// 5 s.
    #[must_use]
    pub fn reconnect_delay(mut self, delay: impl Fn(u32) -> Duration + MaybeSend + MaybeSync + 'static) -> Self {
        self.retry_delay = Some(Ref::new(delay));
        self
    }

    /// Largest message taken from the server, in bytes. What a larger one belongs to fails. Default: 32.25 MiB.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.config.max_message_size = bytes;
        self
    }

    /// Whether to offer message batching to the broker: messages that are sent at the same time then share a WebSocket
    /// message, which makes many small ones several times as fast. Without it, or with a broker that does not know it, each
    /// travels alone. Default: true. [`Session::supports`](crate::Session::supports) says whether there is batching.
    #[must_use]
    pub fn batching(mut self, batching: bool) -> Self {
        let others = self.config.features & !Features::BATCHING;
        self.config.features = if batching { others | Features::BATCHING } else { others };
        self
    }

    /// Authorities to trust beside those of the system: certificates in PEM form, as in `ca.pem`. May be called several
    /// times. If something else is in it, [`connect`](crate::connect) says so at a `wss://` address. Browsers decide by
    /// themselves, and have none of this.
    ///
    /// ```no_run
    /// # fn example() -> std::io::Result<()> {
    /// # use antiphon_client::Options;
    /// let options = Options::new().trusted_roots(std::fs::read("ca.pem")?);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(all(feature = "tls", not(target_arch = "wasm32")))]
    #[must_use]
    pub fn trusted_roots(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.trust.add(pem.as_ref());
        self
    }

    /// Protocol version to ask for, 22 to 29. Default: 25.
    #[must_use]
    pub fn protocol_version(mut self, version: u8) -> Self {
        self.config.protocol_version = version;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Options {
    /// Without the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("config", &self.config).finish_non_exhaustive()
    }
}

fn always(credentials: Credentials) -> CredentialsSource {
    Ref::new(move |()| {
        let credentials = credentials.clone();
        Box::pin(async { Ok(credentials) })
    })
}

/// The address of a server up to where our query begins. As in JavaScript: `http` is read as `ws`, and no path as
/// `/diffusion`; at the path `/antiphon` no query of ours follows.
pub(crate) fn server_address(url: &str) -> Result<String, ConnectError> {
    let invalid = |message: String| ConnectError::new(ConnectCode::InvalidUrl, message);
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| invalid(format!("\"{url}\" is not a URL; write ws://host:port or wss://host")))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        other => {
            let text = format!("the URL must begin with ws://, wss://, http:// or https://, not {other}:");
            return Err(invalid(text));
        }
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (host_and_path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = host_and_path.split_at(host_and_path.find('/').unwrap_or(host_and_path.len()));
    if host.is_empty() {
        return Err(invalid(format!("\"{url}\" names no host")));
    }
    if host.contains('@') {
        let text = "the URL must not have a user name or password; use the options principal and password";
        return Err(invalid(text.to_owned()));
    }
    let path = if matches!(path, "" | "/") { "/diffusion" } else { path };
    if path.trim_end_matches('/').ends_with("/antiphon") {
        let address = format!("{scheme}://{host}{path}?{query}");
        return Ok(address.trim_end_matches(['?', '&']).to_owned());
    }
    let separator = if query.is_empty() { "" } else { "&" };
    Ok(format!("{scheme}://{host}{path}?{query}{separator}"))
}

/// What to do with a request or a registration while there is no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDisconnected {
    /// It fails at once with `NOT_CONNECTED`.
    #[default]
    Fail,
    /// It waits for a connection, within its timeout.
    Wait,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_in_javascript() {
        for (url, address) in [
            ("ws://localhost:8080", "ws://localhost:8080/diffusion?"),
            ("http://localhost/", "ws://localhost/diffusion?"),
            ("HTTPS://example.org/antiphon#there", "wss://example.org/antiphon"),
            ("ws://localhost/chat/antiphon/?", "ws://localhost/chat/antiphon/"),
            ("ws://localhost/antiphon?x=1&", "ws://localhost/antiphon?x=1"),
            ("ws://localhost/antiphonal", "ws://localhost/antiphonal?"),
            ("wss://[::1]:1/a/b?x=1", "wss://[::1]:1/a/b?x=1&"),
        ] {
            assert_eq!(server_address(url).as_deref(), Ok(address));
        }
        for url in ["localhost:8080", "ftp://localhost", "ws://", "ws://ada:secret@localhost"] {
            assert_eq!(server_address(url).expect_err(url).code, ConnectCode::InvalidUrl);
        }
    }
}
