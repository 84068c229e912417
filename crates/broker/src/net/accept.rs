//! Takes connections: whose they are, whether they may come in, TLS, and HTTP until one becomes a WebSocket.

use std::io::{Error, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Extension;
use axum::http::StatusCode;
use bytes::Buf;
use hyper::server::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};

use super::admission::{Admission, Admitted, TooMany};
use super::entrance::{Current, Via};
use super::forwarded;
use super::hub::Hub;
use super::limits::Limits;
use super::rounds::{Place, Step};
use super::socket::Socket;

/// How long one that may not come in has to read why, and how many may do so at a time. Further ones are just closed.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);
const MAX_REFUSALS: usize = 64;

/// How long not to accept anything when that failed, and how long not to say so again.
const PAUSE: Duration = Duration::from_millis(50);
const SILENCE: Duration = Duration::from_secs(10);

/// Takes connections, as long as it lives.
pub(super) struct Acceptor {
    router: Router,
    entrance: Arc<Current>,
    admission: Arc<Admission>,
    limits: Limits,
    hub: Arc<Hub>,
    open: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    stopping: watch::Sender<()>,
}

/// One of the connections that may be open at the same time. Held by each of its requests, so by a WebSocket for as long
/// as it is open.
#[derive(Clone)]
pub(super) struct Permit(
    #[expect(dead_code, reason = "it counts while it lives")] Arc<(OwnedSemaphorePermit, Option<Admitted>)>,
);

impl Acceptor {
    /// `router` answers requests; among its extensions are [`Via`] and [`Permit`].
    pub fn new(
        router: Router,
        entrance: Arc<Current>,
        admission: Arc<Admission>,
        limits: Limits,
        hub: Arc<Hub>,
    ) -> Self {
        let open = Arc::new(Semaphore::new(limits.max_connections as usize));
        let (refusals, stopping) = (Arc::new(Semaphore::new(MAX_REFUSALS)), watch::Sender::new(()));
        Self { router, entrance, admission, limits, hub, open, refusals, stopping }
    }

    /// Takes the connections of a listener, for ever.
    pub async fn accept(&self, listener: &TcpListener) {
        let (mut failures, mut silent_until) = (0_u64, Instant::now());
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    failures += 1;
                    if Instant::now() >= silent_until {
                        tracing::error!(%error, failures, "cannot accept connections; those that come wait");
                        (failures, silent_until) = (0, Instant::now() + SILENCE);
                    }
                    // Most likely out of file descriptors: the next attempt would fail as well.
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Tells connections that wait for a request to end. When all have ended, this resolves, with whether they did within
    /// the time.
    pub async fn stop(self, patience: Duration) -> bool {
        let Self { router, stopping, open, limits, .. } = self;
        drop((router, stopping));
        // A connection has its permit until it ends.
        timeout(patience, open.acquire_many(limits.max_connections)).await.is_ok()
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let peer = peer.ip().to_canonical();
        let Ok(permit) = self.open.clone().try_acquire_owned() else {
            tracing::warn!(client = %peer, "refused: there are as many connections as there may be");
            return self.refuse(stream, StatusCode::SERVICE_UNAVAILABLE);
        };
        // A request is a small message that somebody waits for.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off Nagle's algorithm");
        }
        let is_proxy = self.entrance.borrow().trusts(peer);
        let admitted = if is_proxy { Ok(None) } else { self.admission.admit(Instant::now().into(), peer) };
        let Ok(admitted) = admitted else {
            tracing::info!(client = %peer, "refused: too many connections from there");
            return self.refuse(stream, StatusCode::TOO_MANY_REQUESTS);
        };
        let newcomer = Newcomer {
            router: self.router.clone(),
            entrance: self.entrance.clone(),
            admission: self.admission.clone(),
            hub: self.hub.clone(),
            patience: self.limits.handshake_timeout,
            max_head_bytes: self.limits.max_head_bytes,
            stopping: self.stopping.subscribe(),
        };
        tokio::spawn(async move {
            if let Err(error) = newcomer.serve(stream, peer, is_proxy, permit, admitted).await {
                tracing::debug!(client = %peer, %error, "a connection broke before there was a WebSocket");
            }
        });
    }

    /// Says why, where that costs next to nothing: not in TLS.
    fn refuse(&self, mut stream: TcpStream, status: StatusCode) {
        if self.entrance.borrow().tls.is_some() {
            return;
        }
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
        tokio::spawn(async move {
            let answer =
                format!("HTTP/1.1 {status}\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            let said = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                // A connection that is closed with something unread is reset, and the answer is lost.
                tokio::io::copy(&mut stream.take(64 << 10), &mut tokio::io::sink()).await
            };
            let _ = timeout(REFUSAL_PATIENCE, said).await;
            drop(permit);
        });
    }
}

/// A connection before it is known what comes of it, and what it needs for that.
struct Newcomer {
    router: Router,
    entrance: Arc<Current>,
    admission: Arc<Admission>,
    hub: Arc<Hub>,
    patience: Duration,
    max_head_bytes: usize,
    stopping: watch::Receiver<()>,
}

impl Newcomer {
    /// Serves HTTP on a connection until it is closed, becomes a WebSocket, or is idle when everything stops.
    async fn serve(
        mut self,
        mut stream: TcpStream,
        peer: IpAddr,
        is_proxy: bool,
        permit: OwnedSemaphorePermit,
        mut admitted: Option<Admitted>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + self.patience;
        let (mut peer, mut begun) = (peer, Vec::new());
        if is_proxy {
            let named;
            (named, begun) = timeout_at(deadline, forwarded::read(&mut stream)).await??;
            if let Some(named) = named {
                peer = named;
                if !self.entrance.borrow().trusts(peer) {
                    match self.admission.admit(Instant::now().into(), peer) {
                        Ok(counted) => admitted = counted,
                        Err(TooMany) => {
                            tracing::info!(client = %peer, "refused: too many connections from there");
                            return Ok(());
                        }
                    }
                }
            }
        }
        // A proxy connects for many, and for whom it does is in the head of the request.
        let is_known = !self.entrance.borrow().trusts(peer);
        let mut place = is_known.then(|| self.hub.place_of(peer));
        if let Some(place) = &mut place {
            timeout_at(deadline, place.step()).await?;
        }
        let tls = self.entrance.borrow().tls.clone();
        let is_tls = tls.is_some();
        let socket = match tls {
            Some(config) => {
                let begun = std::mem::take(&mut begun);
                // Boxed, since all that it needs is over when it is done.
                Box::pin(timeout_at(deadline, Socket::with_tls(stream, config, begun, &mut place))).await??
            }
            None => Socket::Plain(stream),
        };
        let wire = Wire { socket, place, begun: begun.into(), patience: self.patience, stalled: None };
        let permit = Permit(Arc::new((permit, admitted)));
        let router = self.router.layer(Extension(permit)).layer(Extension(Via { peer, is_tls }));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)))
            .max_buf_size(self.max_head_bytes)
            .serve_connection(TokioIo::new(wire), TowerToHyperService::new(router))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = &mut connection => served,
            // Nothing is ever sent, so this is the sender going away.
            _ = self.stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        match served {
            // Answered 414 or 431 already, without a body: there is no way to give one.
            Err(error) if error.is_parse_too_large() => {
                tracing::info!(client = %peer, %error, "refused: the address or the headers are too long");
                Ok(())
            }
            served => served.map_err(Error::other),
        }
    }
}

/// The connection, once the response is sent; its place, if its address was known before the request; and what has come on
/// it already.
pub(super) async fn opened(upgrading: OnUpgrade) -> Option<(Socket, Option<Place>, Bytes)> {
    let upgraded: Result<Upgraded, _> = upgrading.await;
    // It was put there by `serve`.
    let parts = upgraded.ok()?.downcast::<TokioIo<Wire>>().ok()?;
    let Wire { socket, place, begun, .. } = parts.io.into_inner();
    let head = if begun.is_empty() { parts.read_buf } else { [parts.read_buf, begun].concat().into() };
    Some((socket, place, head))
}

/// A connection as HTTP has it: what was read already comes first, each read is a step, and a client that takes nothing of
/// its answer for too long is gone.
struct Wire {
    socket: Socket,
    /// Among those of its address, if that is known.
    place: Option<Place>,
    begun: Bytes,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    fn within_patience<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        if let Some(place) = &mut self.place {
            ready!(place.poll(context));
        }
        if self.begun.has_remaining() {
            let length = self.begun.len().min(room.remaining());
            let begun = self.begun.split_to(length);
            room.put_slice(&begun);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.socket).poll_read(context, room);
        if let Some(place) = &mut self.place {
            match read {
                Poll::Ready(Ok(())) => place.stepped(Step::Request),
                _ => place.pass(),
            }
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.within_patience(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.within_patience(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        self.within_patience(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(context);
        self.within_patience(context, shut)
    }
}
