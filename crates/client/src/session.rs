//! Opening a session, and the session itself.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use antiphon_protocol::client::{CloseCode, Closed, ConnectCode, ConnectError, Response, State};
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::primitives::SessionId;
use futures_channel::oneshot;

use crate::error::{RequestError, unexpected};
use crate::events::Events;
use crate::handle::Handle;
use crate::lock::Ref;
use crate::messaging::Messaging;
use crate::options::{Options, server_address};
use crate::shared::Shared;
use crate::task::Task;

/// Open a session with the server at `url`, for example `ws://127.0.0.1:8080/antiphon`. At that
/// path of our broker credentials and properties go in the first message; at any other they are in the address, and without
/// a path it is `/diffusion`.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use antiphon_client::{Options, Request, connect};
///
/// let session = connect("ws://127.0.0.1:8080/antiphon", Options::new()).await?;
/// let messaging = session.messaging();
/// let greet = async |request: Request| Ok(format!("hello {}", request.decode::<String>()?));
/// messaging.add_request_handler("greet", greet).await?;
/// let answer: String = messaging.send_request_to_path("greet", "Ada").await?.decode()?;
/// assert_eq!(answer, "hello Ada");
/// session.close().await;
/// # Ok(())
/// # }
/// ```
///
/// Natively it needs a tokio runtime with time and IO; `wss://` needs the feature `tls`, which is on unless the program says
/// otherwise. When the future is dropped, the session is closed.
///
/// # Errors
///
/// [`ConnectError`], at the latest after the connect timeout of the options.
pub async fn connect(url: &str, options: Options) -> Result<Session, ConnectError> {
    let address = server_address(url)?;
    let (connecting, connected) = oneshot::channel();
    let (closing, closed) = oneshot::channel();
    let shared = Ref::new(Shared::new(address, &options, closed));
    let session = Session(Handle::new(shared.clone()));
    shared.spawner.spawn(Task::new(shared.clone(), options, connecting, closing).run());
    let stopped = || ConnectError::new(ConnectCode::ConnectionError, STOPPED.to_owned());
    connected.await.unwrap_or_else(|_| Err(stopped()))?;
    Ok(session)
}

/// An open session. Clones are the same session.
///
/// **Every future settles**, whatever happens to the connection: with what the server sent, or with an error when the
/// time allowed has passed or the session is over. Dropping a future abandons what it waits for; a request may still be
/// acted on.
///
/// **A session outlives its connections.** One that loses its connection looks for another one. If the server can go on
/// where it was, requests under way get their responses and nobody notices more than the delay. If messages were lost,
/// requests under way fail with `CONNECTION_LOST`, and the request handlers are registered again; if the server has
/// forgotten the session, it also has another [`id`](Self::id). [`Self::events`] tell which it was. Meanwhile a request
/// fails at once, unless it says that it [waits](crate::Ask::when_disconnected).
///
/// **The session is closed when the last handle of it is dropped**: clones, [`Messaging`], registrations, what a
/// [`gather`](Messaging::gather) gives, and futures that wait. A handler that owns a clone keeps its session open until
/// somebody calls [`close`](Self::close).
#[derive(Clone)]
pub struct Session(Ref<Handle>);

impl Session {
    /// The ID that the server gave the session. It changes when a server that has forgotten the session opens a new one.
    #[must_use]
    pub fn id(&self) -> SessionId {
        // There is no handle of a session that was never open.
        self.0.shared.identity.get().session.unwrap_or(SessionId { server: 0, value: 0 })
    }

    /// The name that was given when it connected, or changed its principal; none if it is anonymous, or if its credentials
    /// alone say who it is: then the property `$Principal` tells.
    #[must_use]
    pub fn principal(&self) -> Option<String> {
        self.0.shared.identity.get().principal.clone()
    }

    /// The state of the session.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.shared.driver.with_core(|core| core.state())
    }

    /// Whether client and broker have agreed on these features, which go beyond the protocol of official brokers; after a
    /// reconnection the answer may be another one. While reconnecting it is that of the last connection; none once the
    /// session is closed.
    #[must_use]
    pub fn supports(&self, features: Features) -> bool {
        self.0.shared.driver.with_core(|core| core.features()).has(features)
    }

    /// Requests and responses: the messaging component.
    #[must_use]
    pub fn messaging(&self) -> Messaging {
        Messaging::new(self.0.clone())
    }

    /// The events of the session from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.shared.listeners.listen()
    }

    /// Measure a round trip to the server.
    ///
    /// # Errors
    ///
    /// [`RequestError`], at the latest after the request timeout of the options.
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        match self.0.shared.call(|core, now, call| core.ping(now, call))?.await? {
            Response::Pong(time) => Ok(time),
            _ => Err(unexpected()),
        }
    }

    /// Properties of the session as the server has them: those with these keys, or groups of them such as
    /// [`ALL_FIXED_PROPERTIES`](crate::ALL_FIXED_PROPERTIES).
    ///
    /// # Errors
    ///
    /// As [`Self::ping`].
    pub async fn properties(&self, keys: &[&str]) -> Result<HashMap<String, String>, RequestError> {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        match self.0.shared.call(|core, now, call| core.get_properties(now, call, &keys))?.await? {
            Response::Properties(properties) => Ok(properties.into_iter().collect()),
            _ => Err(unexpected()),
        }
    }

    /// Give the session another principal. Whether the server accepted it.
    ///
    /// # Errors
    ///
    /// As [`Self::ping`].
    pub async fn change_principal(&self, principal: &str, credentials: Credentials) -> Result<bool, RequestError> {
        let shared = &self.0.shared;
        shared.identity.get().changes += 1;
        let call = shared.call(|core, now, call| core.change_principal(now, call, principal, &credentials))?;
        let outcome = call.await;
        let mut identity = shared.identity.get();
        identity.changes += 1;
        match outcome? {
            Response::PrincipalChanged(changed) => {
                if changed {
                    identity.principal = Some(principal.to_owned());
                }
                Ok(changed)
            }
            _ => Err(unexpected()),
        }
    }

    /// Ask a service of the server by its number, with a body in the layout of `docs/protocol.md`.
    ///
    /// # Errors
    ///
    /// As [`Self::ping`].
    pub async fn invoke(&self, service: u32, body: &[u8]) -> Result<Vec<u8>, RequestError> {
        match self.0.shared.call(|core, now, call| core.invoke(now, call, service, body))?.await? {
            Response::Body(body) => Ok(body),
            _ => Err(unexpected()),
        }
    }

    /// Make sure of the connection, for example because this machine was asleep or has another network: the server is
    /// asked for a sign of life, and if none comes within 3 s the connection is given up for another one. While there is no
    /// connection: try to get one now.
    pub fn reconnect(&self) {
        self.0.shared.change(|core, now| core.reconnect(now));
    }

    /// End the session, for all its handles. Whoever waits for something gets `SESSION_CLOSED`. Settles when the server
    /// has confirmed, or after a second.
    pub async fn close(&self) -> Closed {
        self.0.close();
        self.closed().await
    }

    /// Wait for the end of the session; settles at once if it is over.
    pub async fn closed(&self) -> Closed {
        let closed = self.0.shared.closed.clone().await;
        closed.unwrap_or_else(|_| Closed { code: CloseCode::ConnectionError, reason: STOPPED.to_owned() })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).field("state", &self.state()).finish_non_exhaustive()
    }
}

/// For people.
const STOPPED: &str = "the task of the session has been stopped";

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::future::{IntoFuture, pending};

    use antiphon_broker::core::access::Access;
    use antiphon_broker::core::{Broker, BrokerConfig};
    use antiphon_broker::net::{Server, serve};
    use tokio::net::TcpListener;

    use super::*;
    use crate::requests::Rejection;

    #[tokio::test]
    async fn what_is_dropped_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("an address"));
        let broker = Broker::new(BrokerConfig::default(), Access::development());
        tokio::spawn(serve(vec![listener], Server::development(broker), pending()));
        let session = connect(&url, Options::new()).await.expect("connected");
        let messaging = session.messaging();
        let never = async |_| pending::<Result<(), Rejection>>().await;
        messaging.add_stream_handler("a", never).addressed(true).await.expect("added");
        let waiting = || session.0.shared.calls.get().len();
        let gathering = messaging.gather("all", "a", ()).await.expect("sent");
        let mut asking = messaging.send_request_to_session("a", session.id(), ()).into_future();
        assert!(futures_util::poll!(&mut asking).is_pending());
        assert_eq!(waiting(), 2);
        drop(asking);
        assert_eq!(waiting(), 1);
        drop(gathering);
        assert_eq!(waiting(), 0);
    }
}
