//! Who may come in, and how: what may change while the broker runs.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::sync::watch;

use super::forwarded;
use super::origin::Origins;

/// Who may come in, and how. The whole of it is replaced at once; connections that are open stay as they are.
#[derive(Clone, Default)]
pub struct Entrance {
    /// The certificate and key. Without it, connections are not encrypted.
    pub tls: Option<Arc<ServerConfig>>,
    /// How long browsers that came by TLS are to use nothing else for this host; zero for what they like.
    pub hsts: Duration,
    /// The web pages that may connect.
    pub origins: Origins,
    /// Proxies, which are believed when they say for whom they connect.
    pub trusted_proxies: Vec<IpNet>,
}

/// The entrance as it is now.
pub(super) type Current = watch::Receiver<Arc<Entrance>>;

/// By which way a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Via {
    /// Who connected, or whom a proxy named as such before anything else.
    pub peer: IpAddr,
    pub is_tls: bool,
}

impl fmt::Debug for Entrance {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, hsts, origins, trusted_proxies } = self;
        let is_tls = tls.is_some();
        write!(
            formatter,
            "Entrance {{ tls: {is_tls}, hsts: {hsts:?}, origins: {origins:?}, trusted_proxies: {trusted_proxies:?} }}"
        )
    }
}

impl Entrance {
    /// Whether this is a proxy that says for whom it connects.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// Who sent a request: whoever connected, unless that is a proxy which says for whom.
    pub(super) fn client(&self, via: Via, headers: &HeaderMap) -> IpAddr {
        forwarded::client(via.peer, headers, |address| self.trusts(address))
    }
}

/// Lets requests pass but those of web pages that may not use the broker.
///
/// A browser says which page makes a request. Any page could, so only those that are listed may.
pub(super) async fn only_allowed_pages(
    State(entrance): State<Arc<Current>>,
    Extension(via): Extension<Via>,
    request: Request,
    next: Next,
) -> Response {
    if entrance.borrow().origins.allow(request.headers(), via.is_tls) {
        return next.run(request).await;
    }
    let (host, origin) = (request.headers().get(HOST), request.headers().get(ORIGIN));
    tracing::info!(?host, ?origin, "refused: pages from there may not connect");
    (StatusCode::FORBIDDEN, "pages from this origin may not connect\n").into_response()
}
