//! A WebSocket on tokio: opening it, its messages in both directions, closing it.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;

use antiphon_protocol::batch::MAX_BATCH_BYTES;
use antiphon_protocol::recovery::Frame;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{SocketEvent, Trust, tls};

/// The bytes of a message that has arrived.
pub(crate) type MessageBytes = Bytes;

/// A WebSocket that is opening, open or gone.
pub(crate) struct Socket {
    state: State,
    unwritten: Unwritten,
}

enum State {
    Opening(Pin<Box<dyn Future<Output = Result<WebSocket, SocketEvent>> + Send>>),
    Open(SplitSink<WebSocket, Message>, SplitStream<WebSocket>),
    Gone,
}

type WebSocket = WebSocketStream<tls::Stream>;

#[derive(Default)]
struct Unwritten {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Whether the socket may still keep some of what it was given.
    unflushed: bool,
    /// Messages that were read meanwhile.
    read_meanwhile: usize,
}

/// Bytes that may wait to be written before nothing more is read. So a peer that does not take our answers cannot make
/// us keep ever more of them.
const MAX_UNWRITTEN_BYTES: usize = 64 << 10;

/// Messages that may be read while something waits to be written. So a peer that never pauses is answered as well.
const MAX_READ_MEANWHILE: usize = 64;

/// Of each connection, in bytes. Small, since a process may have thousands of them.
const READ_BUFFER: usize = 8 << 10;

/// How long the server has to close its end of the WebSocket.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

impl Socket {
    /// Starts opening a WebSocket at `url`. Messages from the server may have `max_message_size` bytes.
    pub fn open(url: String, max_message_size: usize, trust: &Trust) -> Self {
        let opening = Box::pin(open(url, max_message_size, trust.clone()));
        Self { state: State::Opening(opening), unwritten: Unwritten::default() }
    }

    /// Queues a binary message; [`Self::next`] writes it.
    pub fn send(&mut self, frame: Frame) {
        self.unwritten.bytes += frame.len();
        self.unwritten.unflushed = true;
        self.unwritten.frames.push_back(frame);
    }

    /// Whether what is sent now is written.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(..))
    }

    /// Reads and writes until something happens. Nothing is lost when the future is dropped before.
    pub async fn next(&mut self) -> SocketEvent {
        let event = match &mut self.state {
            State::Opening(opening) => match opening.await {
                Ok(web_socket) => {
                    let (sink, stream) = web_socket.split();
                    self.state = State::Open(sink, stream);
                    return SocketEvent::Open;
                }
                Err(event) => event,
            },
            State::Open(sink, stream) => exchange(sink, stream, &mut self.unwritten).await,
            State::Gone => pending().await,
        };
        if matches!(event, SocketEvent::Gone { .. } | SocketEvent::Closed { .. }) {
            self.state = State::Gone;
        }
        event
    }

    /// Writes what is queued and closes the WebSocket, as far as the server goes along.
    pub async fn close(self) {
        let State::Open(mut sink, mut stream) = self.state else { return };
        let mut unwritten = self.unwritten;
        let goodbye = async {
            // It may be gone; then there is nobody to say goodbye to.
            if unwritten.write(&mut sink).await.is_ok() && sink.close().await.is_ok() {
                while let Some(Ok(_)) = stream.next().await {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, goodbye).await;
    }
}

async fn open(url: String, max_message_size: usize, trust: Trust) -> Result<WebSocket, SocketEvent> {
    let refused = |reason: String| SocketEvent::Gone { reason, can_pass: false };
    let request = url.into_client_request().map_err(|error| refused(error.to_string()))?;
    let uri = request.uri();
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let (tls, port) = match uri.scheme_str() {
        Some("wss") => (Some(trust.prepare(&host).await.map_err(refused)?), 443),
        _ => (None, 80),
    };
    let port = uri.port_u16().unwrap_or(port);
    let is_encrypted = tls.is_some();
    let stream = TcpStream::connect((host.as_str(), port)).await;
    let stream = stream.map_err(|error| gone(format!("{host}:{port}: {error}")))?;
    // A request is a small message that somebody waits for.
    stream.set_nodelay(true).map_err(gone)?;
    let stream = match tls {
        Some(tls) => tls.shake_hands(stream).await?,
        None => tls::plain(stream),
    };
    // A batch may be larger than each message in it may be.
    let limit = Some(max_message_size.max(MAX_BATCH_BYTES));
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).max_message_size(limit).max_frame_size(limit);
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((web_socket, _)) => Ok(web_socket),
        Err(Error::Http(response)) => Err(refusal(response.status())),
        Err(Error::Protocol(ProtocolError::HttparseError(_))) if !is_encrypted => {
            Err(refused(format!("what answers at {host}:{port} does not speak HTTP; is it a wss:// address?")))
        }
        Err(error) => Err(gone(error)),
    }
}

/// The server, or something before it, answered with this instead of a WebSocket.
fn refusal(status: StatusCode) -> SocketEvent {
    let passes =
        [StatusCode::NOT_FOUND, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    let can_pass = status.is_server_error() || passes.contains(&status);
    SocketEvent::Gone { reason: format!("HTTP status {status} instead of a WebSocket"), can_pass }
}

/// Another attempt may succeed.
fn gone(reason: impl ToString) -> SocketEvent {
    SocketEvent::Gone { reason: reason.to_string(), can_pass: true }
}

/// Writes what is queued, whenever there is nothing to read, until something arrives.
async fn exchange(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    unwritten: &mut Unwritten,
) -> SocketEvent {
    loop {
        let must_write = unwritten.unflushed;
        let may_read = unwritten.bytes <= MAX_UNWRITTEN_BYTES && unwritten.read_meanwhile < MAX_READ_MEANWHILE;
        tokio::select! {
            // Reading goes first, so that the answers to all that has arrived are written together.
            biased;
            received = stream.next(), if may_read => match received {
                Some(Ok(Message::Binary(frame))) => {
                    unwritten.read_meanwhile += usize::from(must_write);
                    return SocketEvent::Message(frame);
                }
                Some(Ok(Message::Text(_))) => return SocketEvent::Violation("the server sent a text message".into()),
                Some(Ok(Message::Close(Some(close)))) => {
                    let code = u16::from(close.code);
                    return SocketEvent::Closed { code, reason: close.reason.to_string() };
                }
                // Pings are answered by the WebSocket itself.
                Some(Ok(_)) => {}
                Some(Err(error @ Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                    return gone(error);
                }
                // The same over TLS, which calls it something else.
                Some(Err(Error::Io(error))) if error.kind() == ErrorKind::UnexpectedEof => {
                    return gone(ProtocolError::ResetWithoutClosingHandshake);
                }
                Some(Err(error @ (Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_)))) => {
                    return SocketEvent::Violation(error.to_string());
                }
                Some(Err(error)) => return gone(error),
                None => return gone("the server closed the WebSocket"),
            },
            written = unwritten.write(sink), if must_write => {
                if let Err(error) = written {
                    return gone(error);
                }
            }
        }
    }
}

impl Unwritten {
    /// Gives everything to the socket and flushes it. Nothing is lost when the future is dropped before.
    async fn write(&mut self, sink: &mut SplitSink<WebSocket, Message>) -> Result<(), Error> {
        while !self.frames.is_empty() {
            poll_fn(|context| sink.poll_ready_unpin(context)).await?;
            // Not `sink.feed`: it would take the frame with it when it is dropped.
            if let Some(frame) = self.frames.pop_front() {
                self.bytes -= frame.len();
                sink.start_send_unpin(Message::Binary(Bytes::from_owner(frame)))?;
            }
        }
        sink.flush().await?;
        self.unflushed = false;
        self.read_meanwhile = 0;
        Ok(())
    }
}
