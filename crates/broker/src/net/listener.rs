//! What may be asked for on a connection: the page, a WebSocket, the end of a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tungstenite::handshake::server::create_response_with_body;

use super::accept::{Acceptor, Permit, opened};
use super::admission::{Admission, Admitted, TooMany};
use super::connection;
use super::door::{Door, FirstMessageLimits};
use super::entrance::{Current, Entrance, Via, only_allowed_pages};
use super::headers::add_security_headers;
use super::hub::{Hub, Rules};
use super::limits::Limits;
use super::origin::Origins;
use super::site::Site;
use crate::core::{Arrival, Broker};
use crate::identity::Identities;

/// Bytes in the body of a request to close a session; a token is much shorter.
const MAX_TOKEN_BYTES: usize = 1 << 10;

/// How long connections have to end when the broker has closed its end of them and stops.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What a running broker serves.
#[derive(Debug)]
pub struct Server {
    /// The rules.
    pub broker: Broker,
    /// Who clients are, if the broker does not know it by itself.
    pub identities: Arc<Identities>,
    /// The page.
    pub site: Site,
    /// Before a session exists.
    pub limits: Limits,
    /// Who may come in; may change.
    pub entrance: watch::Receiver<Arc<Entrance>>,
    /// What holds instead of what the broker was made with, each time it changes.
    pub rules: watch::Receiver<Option<Rules>>,
    /// How long requests under way have to be answered when the broker is to stop.
    pub grace: Duration,
}

impl Server {
    /// For development: no page, and pages of this machine may come in.
    #[must_use]
    pub fn development(broker: Broker) -> Self {
        let entrance = Entrance { origins: Origins::new(&["loopback"]), ..Entrance::default() };
        Self {
            broker,
            identities: Arc::default(),
            site: Site::default(),
            limits: Limits::default(),
            entrance: watch::channel(Arc::new(entrance)).1,
            rules: watch::channel(None).1,
            grace: Duration::ZERO,
        }
    }
}

struct Shared {
    hub: Arc<Hub>,
    site: Site,
    entrance: Arc<Current>,
    admission: Arc<Admission>,
    first_message: FirstMessageLimits,
    max_message_size: usize,
}

/// Serves connections from `listeners` until `stop` resolves. Then nothing new is taken, and what is under way may end,
/// before all connections are closed.
pub async fn serve(listeners: Vec<TcpListener>, server: Server, stop: impl Future<Output = ()>) {
    let Server { broker, identities, site, limits, entrance, rules, grace } = server;
    let (hub, _service) = Hub::start(broker, identities, limits.traffic.clone());
    let (entrance, admission) = (Arc::new(entrance), Admission::new(&limits));
    let shared = Arc::new(Shared {
        hub: hub.clone(),
        site,
        entrance: entrance.clone(),
        admission: admission.clone(),
        first_message: FirstMessageLimits { bytes: limits.max_connect_bytes, timeout: limits.handshake_timeout },
        max_message_size: limits.max_message_size,
    });
    let router = Door::ALL
        .into_iter()
        .fold(Router::new(), |router, door| {
            let path = door.path();
            router
                .route(path, any(upgrade).layer(Extension(door)))
                .route(&format!("{path}/"), any(upgrade).layer(Extension(door)))
                .route(&format!("{path}/close"), post(close))
        })
        .route_layer(from_fn_with_state(entrance.clone(), only_allowed_pages))
        .fallback(page)
        .layer(from_fn_with_state(entrance.clone(), add_security_headers))
        .layer(from_fn_with_state(shared.clone(), in_turns))
        .with_state(shared);
    let acceptor = Acceptor::new(router, entrance, admission, limits, hub.clone());
    // A task of its own, since the one that all others come from has its turn more often than they.
    let mut time = JoinSet::new();
    time.spawn({
        let hub = hub.clone();
        async move { hub.run().await }
    });
    tokio::select! {
        _ = join_all(listeners.iter().map(|listener| acceptor.accept(listener))) => {}
        () = stop => {}
        () = hub.watch_memory() => {}
        () = follow(rules, &hub) => {}
        _ = time.join_next() => return tracing::error!("the broker's core panicked"),
    }
    drop(listeners);
    hub.stop(grace);
    tokio::select! {
        have_ended = acceptor.stop(grace + STOP_PATIENCE) => {
            if !have_ended {
                tracing::warn!("some clients did not close their connections");
            }
        }
        _ = time.join_next() => tracing::error!("the broker's core panicked"),
    }
}

/// Tells the core of every change.
async fn follow(mut rules: watch::Receiver<Option<Rules>>, hub: &Hub) {
    while rules.changed().await.is_ok() {
        let changed = rules.borrow_and_update().clone();
        if let Some(rules) = changed {
            hub.change(rules);
        }
    }
    // Nobody changes them any more.
    std::future::pending().await
}

/// Ends the session whose token is the body: the last word of a page that is left, whose WebSocket is gone already. The
/// answer is the same whether there is such a session or not (rules S-13).
async fn close(State(shared): State<Arc<Shared>>, body: Body) -> Response {
    match tokio::time::timeout(shared.first_message.timeout, to_bytes(body, MAX_TOKEN_BYTES)).await {
        Ok(Ok(token)) => shared.hub.close(&token),
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    }
    StatusCode::NO_CONTENT.into_response()
}

impl Shared {
    /// Who sent a request. If a proxy did for somebody, whoever that is counts from here on.
    fn admit(&self, via: Via, headers: &HeaderMap) -> Result<(IpAddr, Option<Admitted>), TooMany> {
        let client = self.entrance.borrow().client(via, headers);
        if client == via.peer {
            return Ok((client, None));
        }
        let admitted = self.admission.admit(Instant::now(), client);
        if admitted.is_err() {
            tracing::info!(%client, "refused: too many connections from there");
        }
        Ok((client, admitted?))
    }
}

/// Answers a request when the address that it comes from has its turn: many may come on one connection at once.
async fn in_turns(
    State(shared): State<Arc<Shared>>,
    Extension(via): Extension<Via>,
    request: Request,
    next: Next,
) -> Response {
    let client = shared.entrance.borrow().client(via, request.headers());
    shared.hub.place_of(client).step().await;
    next.run(request).await
}

async fn page(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.site.respond(request.method(), request.uri().path(), request.headers())
}

/// Opens a WebSocket and asks the hub for a session.
async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Extension(via): Extension<Via>,
    Extension(permit): Extension<Permit>,
    Extension(door): Extension<Door>,
    mut request: Request,
) -> Response {
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("not a WebSocket: {error}\n")).into_response(),
    };
    let asked = door.asked(request.uri(), request.headers());
    let (client, admitted) = match shared.admit(via, request.headers()) {
        Ok(admitted) => admitted,
        Err(TooMany) => return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "5")]).into_response(),
    };
    let mut random = [0; 18];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!(%error, "the system gives no random bytes");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let arrival = Box::new(Arrival { client_ip: client.to_string(), start_time: milliseconds_since_1970(), random });
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Some((socket, place, head)) = opened(upgrading).await {
            let Shared { hub, first_message, max_message_size, .. } = &*shared;
            let place = place.unwrap_or_else(|| hub.place_of(client));
            connection::run(socket, place, head, *max_message_size, hub, asked, *first_message, arrival).await;
        }
        drop((permit, admitted));
    });
    response
}

fn milliseconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
