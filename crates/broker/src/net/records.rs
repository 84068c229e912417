//! TLS between the bytes of a socket and those of a connection. Without buffers of its own while nothing is under way, so
//! that a connection that waits costs little more than its keys.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are read from a socket at a time.
const READ_AT_A_TIME: usize = 32 << 10;

/// Bytes that are encrypted at a time. What of them the socket does not take is kept.
const SEALED_AT_A_TIME: usize = 32 << 10;

/// What encrypting adds to that at most, with room to spare: heads and tags of the records, and new keys.
const SEALING: usize = 1 << 10;

/// Bytes of what has begun: a handshake message is the largest.
const MAX_BEGUN: usize = 128 << 10;

thread_local! {
    /// What is read is decrypted before anything else is read, so all connections of a thread share a buffer.
    static INCOMING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTGOING: RefCell<Vec<u8>> = RefCell::new(vec![0; SEALED_AT_A_TIME + SEALING]);
}

/// The state of TLS on one connection.
pub(super) struct Records {
    tls: UnbufferedServerConnection,
    /// What has come of a record that is not whole yet, and of those that are for later.
    begun: Vec<u8>,
    /// There is a whole record in what has begun.
    is_behind: bool,
    /// What is decrypted and was not taken yet; the first `taken` bytes of it were.
    plain: Vec<u8>,
    taken: usize,
    /// What is encrypted and not sent yet; the first `sent` bytes of it are.
    sealed: Vec<u8>,
    sent: usize,
    /// The client has said that nothing more comes.
    is_over: bool,
}

impl Records {
    /// `begun` is what was read already.
    pub fn new(config: Arc<ServerConfig>, begun: Vec<u8>) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            is_behind: !begun.is_empty(),
            begun,
            plain: Vec::new(),
            taken: 0,
            sealed: Vec::new(),
            sent: 0,
            is_over: false,
        })
    }

    /// Carries the handshake on until it is done.
    pub fn poll_handshake(&mut self, socket: &mut TcpStream, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.poll_flush(socket, context))?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let mut nowhere = ReadBuf::new(&mut []);
            let more = ready!(self.poll_more(Pin::new(socket), context, &mut nowhere));
            self.reply(socket);
            if more? == Progress::Over {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Whether there is something to read that has arrived already.
    pub fn has_more(&self) -> bool {
        !self.plain.is_empty() || self.is_behind || self.is_over
    }

    /// Reads what the client sent. Nothing is put into `room` when nothing more comes.
    pub fn poll_read(
        &mut self,
        mut socket: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        let filled = room.filled().len();
        loop {
            self.take_plain(room);
            if room.filled().len() > filled || room.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_more(socket.as_mut(), context, room))? == Progress::Over {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes the next bytes from what has begun, or else from the socket.
    fn poll_more(
        &mut self,
        socket: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<Result<Progress, Error>> {
        if self.is_over {
            return Poll::Ready(Ok(Progress::Over));
        }
        INCOMING.with_borrow_mut(|buffer| {
            let begun = self.begun.len();
            buffer.resize(buffer.len().max(begun + READ_AT_A_TIME), 0);
            let mut end = begun;
            if !self.is_behind {
                let mut incoming = ReadBuf::new(&mut buffer[begun..begun + READ_AT_A_TIME]);
                ready!(socket.poll_read(context, &mut incoming))?;
                end += incoming.filled().len();
                if end == begun {
                    return Poll::Ready(Ok(Progress::Over));
                }
            }
            buffer[..begun].copy_from_slice(&self.begun);
            self.open(&mut buffer[..end], room).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
            Poll::Ready(Ok(Progress::Some))
        })
    }

    /// Decrypts what has arrived; what is not whole, or does not fit, is kept.
    fn open(&mut self, incoming: &mut [u8], room: &mut ReadBuf<'_>) -> Result<(), rustls::Error> {
        let mut at = 0;
        // What has no room has to be taken first.
        let is_done = loop {
            if !self.plain.is_empty() {
                break false;
            }
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(&mut incoming[at..]);
            let is_done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        let (fits, rest) = record.payload.split_at(record.payload.len().min(room.remaining()));
                        room.put_slice(fits);
                        self.plain.extend_from_slice(rest);
                    }
                    false
                }
                Ok(other) => step(other, &mut self.sealed, &mut self.is_over)?,
                Err(error) => {
                    // An alert says so to the client, if there is one.
                    if let Ok(alert) = self.tls.process_tls_records(&mut []).state {
                        step(alert, &mut self.sealed, &mut self.is_over)?;
                    }
                    return Err(error);
                }
            };
            at += discard;
            if is_done {
                break true;
            }
        };
        self.begun = if self.is_over { Vec::new() } else { incoming[at..].to_vec() };
        self.is_behind = !is_done && !self.begun.is_empty();
        if self.begun.len() > MAX_BEGUN {
            return Err(rustls::Error::General("a record that is too large".into()));
        }
        Ok(())
    }

    fn take_plain(&mut self, room: &mut ReadBuf<'_>) {
        let rest = &self.plain[self.taken..];
        let fits = rest.len().min(room.remaining());
        room.put_slice(&rest[..fits]);
        self.taken += fits;
        if self.taken == self.plain.len() {
            (self.plain, self.taken) = (Vec::new(), 0);
        }
    }

    /// Encrypts what fits, and sends it. What is said to be written may wait here still, until [`Self::try_flush`] has
    /// sent it.
    pub fn try_write(&mut self, socket: &TcpStream, parts: &[IoSlice<'_>]) -> Result<usize, Error> {
        self.try_flush(socket)?;
        OUTGOING.with_borrow_mut(|buffer| {
            let (mut taken, mut length) = (0, 0);
            for part in parts {
                let part = &part[..part.len().min(SEALED_AT_A_TIME - taken)];
                if !part.is_empty() {
                    length += self.seal(part, &mut buffer[length..])?;
                    taken += part.len();
                }
            }
            // Something of the protocol itself may have come before.
            let sent = match self.sealed.is_empty() {
                true => none_if_full(socket.try_write(&buffer[..length]))?,
                false => 0,
            };
            self.sealed.extend_from_slice(&buffer[sent..length]);
            Ok(taken)
        })
    }

    /// Encrypts one part. The number of bytes in `sealed`.
    fn seal(&mut self, part: &[u8], sealed: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.tls.process_tls_records(&mut []).state.map_err(Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return traffic.encrypt(part, sealed).map_err(Error::other);
                }
                ConnectionState::Closed | ConnectionState::BlockedHandshake => {
                    return Err(ErrorKind::BrokenPipe.into());
                }
                other => step(other, &mut self.sealed, &mut self.is_over).map_err(Error::other)?,
            };
        }
    }

    /// Sends what reading brought about, such as an alert. What the socket does not take goes before whatever is written
    /// next.
    pub fn reply(&mut self, socket: &TcpStream) {
        if !self.sealed.is_empty()
            && let Err(error) = self.try_flush(socket)
        {
            tracing::trace!(%error, "TLS has to wait");
        }
    }

    /// Sends what is encrypted. [`ErrorKind::WouldBlock`] if the socket does not take all of it.
    pub fn try_flush(&mut self, socket: &TcpStream) -> Result<(), Error> {
        while self.sent < self.sealed.len() {
            match socket.try_write(&self.sealed[self.sent..])? {
                0 => return Err(ErrorKind::WriteZero.into()),
                sent => self.sent += sent,
            }
        }
        (self.sealed, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    /// The same, and waits until it does.
    pub fn poll_flush(&mut self, socket: &TcpStream, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match self.try_flush(socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(socket.poll_write_ready(context))?,
                flushed => return Poll::Ready(flushed),
            }
        }
    }

    /// Says that nothing more is sent, if the socket takes it.
    pub fn goodbye(&mut self, socket: &TcpStream) {
        let mut alert = [0; 64];
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = self.tls.process_tls_records(&mut []).state
            && let Ok(length) = traffic.queue_close_notify(&mut alert)
        {
            self.sealed.extend_from_slice(&alert[..length]);
        }
        if let Err(error) = self.try_flush(socket) {
            tracing::trace!(%error, "a connection ends without TLS's goodbye");
        }
    }
}

/// Whether there is more to come from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Some,
    Over,
}

/// What the protocol wants, apart from reading and writing. Whether it waits for the client.
fn step(
    state: ConnectionState<'_, '_, ServerConnectionData>,
    sealed: &mut Vec<u8>,
    is_over: &mut bool,
) -> Result<bool, rustls::Error> {
    match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let begun = sealed.len();
            if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                sealed.resize(begun + size.required_size, 0);
                data.encode(&mut sealed[begun..]).map_err(|error| rustls::Error::General(error.to_string()))?;
            }
            Ok(false)
        }
        // It is kept until it is sent.
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(false)
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => {
            *is_over = true;
            Ok(true)
        }
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(true),
        // Early data is not offered.
        _ => Err(rustls::Error::General("not expected".into())),
    }
}

fn none_if_full(written: Result<usize, Error>) -> Result<usize, Error> {
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
