//! Accepts connections; tells requests for the page from those for a WebSocket, and lets in only whom it may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon_protocol::wire::handshake::{ConnectRequest, HandshakeError};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use hyper::server::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tungstenite::handshake::server::create_response_with_body;

use super::connection;
use super::hub::Hub;
use super::origin::only_local_pages;
use super::site::Site;
use crate::core::{Arrival, Broker};

/// The limits of a connection before it has a session.
#[derive(Clone, Debug)]
pub struct Limits {
    /// To send a complete HTTP request.
    pub handshake_timeout: Duration,
    /// Bytes of its head, give or take what one read brings.
    pub max_head_bytes: usize,
    /// Largest WebSocket message, in bytes.
    pub max_message_size: usize,
    /// Connections at the same time.
    pub max_connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            max_head_bytes: 64 << 10,
            max_message_size: 32 << 20,
            max_connections: 16_384,
        }
    }
}

/// Bytes in the body of a request to close a session; a token is much shorter.
const MAX_TOKEN_BYTES: usize = 1 << 10;

/// How long connections have to end when the broker has closed its end of them and stops.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What a running broker serves.
#[derive(Debug)]
pub struct Server {
    /// The rules.
    pub broker: Broker,
    /// The page.
    pub site: Site,
    /// Before a session exists.
    pub limits: Limits,
    /// How long requests under way have to be answered when the broker is to stop.
    pub grace: Duration,
}

/// One of the connections that may be open at the same time.
#[derive(Clone)]
struct Permit(#[expect(dead_code, reason = "it counts while it lives")] Arc<OwnedSemaphorePermit>);

struct Shared {
    hub: Arc<Hub>,
    site: Site,
    handshake_timeout: Duration,
    max_message_size: usize,
}

/// Serves connections from `listener` until `stop` resolves. Then nothing new is taken, and what is under way may end,
/// before all connections are closed.
pub async fn serve(listener: TcpListener, server: Server, stop: impl Future<Output = ()>) {
    let Server { broker, site, limits, grace } = server;
    let (hub, _service) = Hub::start(broker);
    let Limits { handshake_timeout, max_message_size, max_connections, .. } = limits;
    let shared = Arc::new(Shared { hub: hub.clone(), site, handshake_timeout, max_message_size });
    let router = Router::new()
        .route("/diffusion", any(upgrade))
        .route("/diffusion/", any(upgrade))
        .route("/diffusion/close", post(close))
        .route_layer(from_fn(only_local_pages))
        .fallback(page)
        .with_state(shared.clone());
    let open = Arc::new(Semaphore::new(max_connections as usize));
    let stopping = watch::Sender::new(());
    let accepting = async {
        loop {
            // Fails only when the semaphore is closed, which it never is.
            let Ok(permit) = open.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Held by every request, so by a WebSocket for as long as it is open.
                    let router = router.clone().layer(Extension(Permit(Arc::new(permit))));
                    tokio::spawn(serve_connection(stream, peer, router, limits.clone(), stopping.subscribe()));
                }
                Err(error) => {
                    // Most likely out of file descriptors: the next attempt would fail as well.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    let mut time = std::pin::pin!(hub.keep_time());
    tokio::select! {
        () = accepting => {}
        () = stop => {}
        () = &mut time => return tracing::error!("the broker's core panicked"),
    }
    drop(listener);
    hub.stop(grace);
    drop((shared, router, stopping));
    // A connection has its permit until it ends.
    let all_ended = tokio::time::timeout(grace + STOP_PATIENCE, open.acquire_many(max_connections));
    tokio::select! {
        all_ended = all_ended => {
            if all_ended.is_err() {
                tracing::warn!("some clients did not close their connections");
            }
        }
        () = time => tracing::error!("the broker's core panicked"),
    }
}

/// Serves HTTP on a connection until it is closed, becomes a WebSocket, or is idle when `stopping` ends.
async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<()>,
) {
    // A request is a small message that somebody waits for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off Nagle's algorithm");
    }
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_timeout)
        .max_buf_size(limits.max_head_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        // Nothing is ever sent, so this is the sender going away.
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match served {
        // Answered 414 or 431 already, without a body: there is no way to give one.
        Err(error) if error.is_parse_too_large() => {
            tracing::info!(client = %peer.ip(), %error, "refused: the address or the headers are too long");
        }
        Err(error) => tracing::debug!(%error, "an HTTP connection broke"),
        Ok(()) => {}
    }
}

/// Ends the session whose token is the body: the last word of a page that is left, whose WebSocket is gone already. The
/// answer is the same whether there is such a session or not (rules S-13).
async fn close(State(shared): State<Arc<Shared>>, body: Body) -> Response {
    match tokio::time::timeout(shared.handshake_timeout, to_bytes(body, MAX_TOKEN_BYTES)).await {
        Ok(Ok(token)) => shared.hub.close(&token),
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn page(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.site.respond(request.method(), request.uri().path(), request.headers())
}

/// Opens a WebSocket and asks the hub for a session.
async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    Extension(permit): Extension<Permit>,
    mut request: Request,
) -> Response {
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("not a WebSocket: {error}\n")).into_response(),
    };
    let connect_request = match connect_request(request.uri(), request.headers()) {
        Ok(request) => Box::new(request),
        Err(error) => return (StatusCode::BAD_REQUEST, format!("not a connect request: {error}\n")).into_response(),
    };
    let mut random = [0; 18];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!(%error, "the system gives no random bytes");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let client_ip = peer.ip().to_canonical().to_string();
    let arrival = Box::new(Arrival { client_ip, start_time: milliseconds_since_1970(), random });
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Some((stream, head)) = opened(upgrading).await {
            connection::run(stream, head, shared.max_message_size, &shared.hub, connect_request, arrival).await;
        }
        drop(permit);
    });
    response
}

/// The connection, once the response is sent, and what has come on it already.
async fn opened(upgrading: OnUpgrade) -> Option<(TcpStream, Bytes)> {
    let upgraded: Result<Upgraded, _> = upgrading.await;
    // It was put there by `serve_connection`.
    let parts = upgraded.ok()?.downcast::<TokioIo<TcpStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// The parameters are in the query, or in headers when there are none in the query (section 2.2).
fn connect_request(uri: &Uri, headers: &HeaderMap) -> Result<ConnectRequest, HandshakeError> {
    match uri.query().map(ConnectRequest::from_query) {
        None | Some(Err(HandshakeError::Missing(_))) => ConnectRequest::from_headers(|name| {
            headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
        }),
        Some(request) => request,
    }
}

fn milliseconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
