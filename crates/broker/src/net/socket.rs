//! A socket with TLS or without: first as one, for HTTP, then in halves, for a WebSocket.

use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::records::Records;
use super::rounds::{Place, Step};

/// A connection as HTTP needs it.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<(TcpStream, Records)>),
}

/// What a client sends.
pub(super) enum Source {
    Plain(OwnedReadHalf),
    Tls(OwnedReadHalf, Arc<Mutex<Records>>),
}

/// What a client is sent.
pub(super) enum Sink {
    Plain(OwnedWriteHalf),
    Tls(OwnedWriteHalf, Arc<Mutex<Records>>),
}

impl Socket {
    /// The server's end of TLS, when the handshake is done, of which each part that comes is a step; `begun` is what was read
    /// already.
    pub async fn with_tls(
        mut stream: TcpStream,
        config: Arc<ServerConfig>,
        begun: Vec<u8>,
        place: &mut Option<Place>,
    ) -> Result<Self, Error> {
        let mut records = Records::new(config, begun).map_err(Error::other)?;
        std::future::poll_fn(|context| {
            if let Some(place) = place {
                ready!(place.poll(context));
                place.stepped(Step::Handshake);
            }
            records.poll_handshake(&mut stream, context)
        })
        .await?;
        Ok(Self::Tls(Box::new((stream, records))))
    }

    pub fn into_split(self) -> (Source, Sink) {
        match self {
            Self::Plain(stream) => {
                let (source, sink) = stream.into_split();
                (Source::Plain(source), Sink::Plain(sink))
            }
            Self::Tls(tls) => {
                let (stream, records) = *tls;
                let (source, sink) = stream.into_split();
                let records = Arc::new(Mutex::new(records));
                (Source::Tls(source, records.clone()), Sink::Tls(sink, records))
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, room),
            Self::Tls(tls) => {
                let (stream, records) = &mut **tls;
                let read = records.poll_read(Pin::new(stream), context, room);
                records.reply(stream);
                read
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Tls(tls) => {
                let (stream, records) = &mut **tls;
                ready!(records.poll_flush(stream, context))?;
                Poll::Ready(records.try_write(stream, parts))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(tls) => tls.1.poll_flush(&tls.0, context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(tls) => {
                let (stream, records) = &mut **tls;
                ready!(records.poll_flush(stream, context))?;
                records.goodbye(stream);
                Pin::new(stream).poll_shutdown(context)
            }
        }
    }
}

impl AsyncRead for Source {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, room),
            Self::Tls(stream, records) => {
                let mut records = lock(records);
                let read = records.poll_read(Pin::new(stream), context, room);
                records.reply((*stream).as_ref());
                read
            }
        }
    }
}

impl Source {
    /// Ready if something may have come. If not, the task is woken when it has.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let stream: &TcpStream = match self {
            Self::Tls(_, records) if lock(records).has_more() => return Poll::Ready(()),
            Self::Plain(stream) | Self::Tls(stream, _) => stream.as_ref(),
        };
        // If it broke, reading says so.
        stream.poll_read_ready(context).map(drop)
    }
}

impl Sink {
    pub fn try_write(&self, bytes: &[u8]) -> Result<usize, Error> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            Self::Tls(stream, records) => lock(records).try_write(stream.as_ref(), &[IoSlice::new(bytes)]),
        }
    }

    pub fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> Result<usize, Error> {
        match self {
            Self::Plain(stream) => stream.try_write_vectored(parts),
            Self::Tls(stream, records) => lock(records).try_write(stream.as_ref(), parts),
        }
    }

    /// Whether everything that was written is on its way; [`std::io::ErrorKind::WouldBlock`] if some of it waits.
    pub fn try_flush(&self) -> Result<(), Error> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream, records) => lock(records).try_flush(stream.as_ref()),
        }
    }

    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let stream: &TcpStream = match self {
            Self::Plain(stream) | Self::Tls(stream, _) => stream.as_ref(),
        };
        stream.poll_write_ready(context)
    }

    /// Nothing more is sent.
    pub fn goodbye(&self) {
        if let Self::Tls(stream, records) = self {
            lock(records).goodbye(stream.as_ref());
        }
    }
}

fn lock(records: &Mutex<Records>) -> MutexGuard<'_, Records> {
    // Nothing panics with it; and what becomes of one client is nobody else's concern.
    records.lock().unwrap_or_else(PoisonError::into_inner)
}
