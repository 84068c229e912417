//! One WebSocket: its messages to the hub, and the hub's messages to it.

use std::mem;
use std::time::Duration;

use antiphon_protocol::batch::Batcher;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};

use super::hub::{ConnectionEvent, Reporter};
use super::outbox::{Amount, Frames, OutboxReceiver, Outgoing};

/// How long a client has to take the last messages and to close its end, once the broker has closed its own.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Serves a connection until either end has closed it.
pub(super) async fn run(socket: WebSocket, outbox: OutboxReceiver, reporter: Reporter) {
    let (sink, stream) = socket.split();
    let OutboxReceiver { frames, closed } = outbox;
    let mut writing = std::pin::pin!(write_frames(sink, frames));
    let mut reading = std::pin::pin!(read_frames(stream, &reporter));
    // A client that takes nothing would keep us writing for ever.
    let out_of_patience = async {
        let _ = closed.await;
        tokio::time::sleep(CLOSE_PATIENCE).await;
    };
    tokio::select! {
        // Everything is sent, or the connection broke. What still comes from this client counts no more.
        () = &mut writing => {
            let _ = tokio::time::timeout(CLOSE_PATIENCE, reading).await;
            reporter.report(ConnectionEvent::Gone).await;
        }
        () = &mut reading => {
            reporter.report(ConnectionEvent::Gone).await;
            let _ = tokio::time::timeout(CLOSE_PATIENCE, writing).await;
        }
        () = out_of_patience => reporter.report(ConnectionEvent::Gone).await,
    }
}

async fn read_frames(mut stream: SplitStream<WebSocket>, reporter: &Reporter) {
    while let Some(received) = stream.next().await {
        let event = match received {
            Ok(Message::Binary(frame)) => ConnectionEvent::Frame(frame),
            Ok(Message::Text(_)) => ConnectionEvent::Violation,
            Ok(Message::Ping(_) | Message::Pong(_)) => ConnectionEvent::SignOfLife,
            Ok(Message::Close(frame)) => {
                if frame.is_some_and(|frame| frame.code == close_code::AWAY) {
                    reporter.report(ConnectionEvent::GoingAway).await;
                }
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "a connection broke");
                if is_violation(error) {
                    reporter.report(ConnectionEvent::Violation).await;
                }
                return;
            }
        };
        reporter.report(event).await;
    }
}

/// Whether a client sent what is no WebSocket frame, or too large a one. Otherwise its connection broke, and it may come
/// back on another one.
fn is_violation(error: axum::Error) -> bool {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    match error.into_inner().downcast_ref::<Error>() {
        Some(Error::Protocol(ResetWithoutClosingHandshake)) => false,
        Some(Error::Protocol(_) | Error::Capacity(_) | Error::Utf8(_)) => true,
        _ => false,
    }
}

async fn write_frames(mut sink: SplitSink<WebSocket, Message>, mut frames: Frames) {
    while let Some(message) = frames.next().await {
        if write_all_queued(&mut sink, &mut frames, message).await.is_err() {
            return;
        }
    }
    let goodbye = CloseFrame { code: close_code::NORMAL, reason: "".into() };
    // The client may be gone; then there is nobody to say it to.
    let _ = sink.send(Message::Close(Some(goodbye))).await;
}

/// Sends `message` and whatever else is queued with a single flush, and in batches what may be sent together.
async fn write_all_queued(
    sink: &mut SplitSink<WebSocket, Message>,
    frames: &mut Frames,
    message: Outgoing,
) -> Result<(), axum::Error> {
    let mut batcher = Batcher::<Bytes>::default();
    let mut written = Amount::default();
    let mut next = Some(message);
    while let Some(outgoing) = next {
        let amount = Amount::of(&outgoing);
        let ready = match outgoing {
            Outgoing::Together(message) => [batcher.push(message), None],
            Outgoing::Alone(message) => [batcher.take(), Some(message)],
        };
        if ready != [None, None] {
            for frame in ready.into_iter().flatten() {
                sink.feed(Message::Binary(frame)).await?;
            }
            frames.sent(mem::take(&mut written));
        }
        written += amount;
        next = frames.next_queued();
    }
    if let Some(frame) = batcher.take() {
        sink.feed(Message::Binary(frame)).await?;
    }
    sink.flush().await?;
    frames.sent(written);
    Ok(())
}
