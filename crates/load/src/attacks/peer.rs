//! A client that sends whatever it is told to: bytes of WebSocket frames, and messages in them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use antiphon_protocol::wire::envelope::request_frame;
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse, Credentials, Recovery, ResponseCode};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::Service;
use socket2::{Domain, Socket, Type};

/// How a session is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Anonymous if there is none; the password is `password`.
    pub principal: Option<&'static str>,
    /// How long the session is to be kept, in milliseconds.
    pub keep: u64,
    /// Proposed properties.
    pub properties: Vec<(String, String)>,
    /// The token of the session to take up again.
    pub token: Option<String>,
    /// It comes from another address than attackers do.
    pub is_neighbour: bool,
    /// Which of its addresses an attacker comes from; most have one.
    pub address: u8,
}

/// The read timeout: longer than anything that is waited for.
const LONG: Duration = Duration::from_secs(120);
/// How long a write waits before it is seen whether there is time left.
const PATIENCE: Duration = Duration::from_millis(20);

/// A WebSocket with a session.
pub struct Peer {
    /// What it stands on.
    pub stream: TcpStream,
    read: Vec<u8>,
    conversation: i64,
    /// The ID of the session.
    pub session: SessionId,
    /// Its token.
    pub token: String,
    /// Whether it is the one that was asked for, without loss.
    pub code: ResponseCode,
}

fn failed(what: impl std::fmt::Display) -> io::Error {
    io::Error::other(what.to_string())
}

impl Peer {
    /// Opens a session.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn connect(broker: SocketAddr, wish: &Wish) -> io::Result<Self> {
        let stream = upgrade(broker, wish)?;
        let nobody = SessionId { server: 0, value: 0 };
        let mut peer = Self {
            stream,
            read: Vec::new(),
            conversation: 0,
            session: nobody,
            token: String::new(),
            code: ResponseCode::OK,
        };
        match ConnectResponse::decode(&peer.receive()?).map_err(failed)? {
            ConnectResponse::Accepted { session, token, code, .. } => {
                (peer.session, peer.token, peer.code) = (session, token.as_text().to_owned(), code);
                Ok(peer)
            }
            ConnectResponse::Refused { code, .. } => Err(failed(code.text())),
        }
    }

    /// A request to a service, in a frame.
    pub fn request<S: Service>(&mut self, request: &S::Request<'_>) -> Vec<u8> {
        self.conversation += 1;
        frame(&request_frame::<S>(ConversationId(self.conversation), request, 0))
    }

    /// Sends such a request.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub fn ask<S: Service>(&mut self, request: &S::Request<'_>) -> io::Result<()> {
        let bytes = self.request::<S>(request);
        self.send(&bytes)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let length = match head[1] {
                126 => {
                    let mut length = [0; 2];
                    self.stream.read_exact(&mut length)?;
                    usize::from(u16::from_be_bytes(length))
                }
                127 => {
                    let mut length = [0; 8];
                    self.stream.read_exact(&mut length)?;
                    usize::try_from(u64::from_be_bytes(length)).map_err(failed)?
                }
                length => usize::from(length),
            };
            self.read.resize(length, 0);
            self.stream.read_exact(&mut self.read)?;
            if head[0] & 0xf == 2 {
                return Ok(std::mem::take(&mut self.read));
            }
        }
    }

    /// Reads and forgets what arrives, on a thread of its own, until the connection ends.
    ///
    /// # Errors
    ///
    /// If the socket cannot be shared.
    pub fn discard(&self) -> io::Result<()> {
        let mut stream = self.stream.try_clone()?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; 16 << 10];
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
        });
        Ok(())
    }

    /// Sends bytes for as long as there is time. Returns whether they are sent.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub fn send_until(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<bool> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if Instant::now() >= until => return Ok(false),
                Err(_) => {}
            }
        }
        Ok(true)
    }

    /// Reads what has arrived, at most so many bytes, and forgets it. Returns how many bytes that was; nothing if the
    /// connection has ended.
    pub fn read_some(&mut self, most: usize) -> Option<usize> {
        self.stream.set_nonblocking(true).ok()?;
        let mut buffer = vec![0; most];
        let read = self.stream.read(&mut buffer);
        self.stream.set_nonblocking(false).ok()?;
        match read {
            Ok(0) => None,
            Ok(read) => Some(read),
            Err(error) => (error.kind() == io::ErrorKind::WouldBlock).then_some(0),
        }
    }
}

/// Opens a WebSocket and asks for a session. Returns when the answer is that it is open.
///
/// # Errors
///
/// If it is not opened.
pub fn upgrade(broker: SocketAddr, wish: &Wish) -> io::Result<TcpStream> {
    let mut stream = tcp(broker, wish)?;
    stream.write_all(upgrade_request(broker, wish).as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"HTTP/1.1 101") { Ok(stream) } else { Err(failed(String::from_utf8_lossy(&head))) }
}

/// The HTTP request that opens a WebSocket.
pub fn upgrade_request(broker: SocketAddr, wish: &Wish) -> String {
    let recovery = wish.token.clone().map(|token| Recovery { token, oldest_sent: 1, last_received: 0 });
    let request = ConnectRequest {
        reconnect_timeout: wish.keep,
        principal: wish.principal.map(str::to_owned),
        credentials: wish.principal.map_or(Credentials::None, |_| Credentials::Password("password".into())),
        properties: (!wish.properties.is_empty()).then(|| wish.properties.clone()),
        recovery,
        ..ConnectRequest::anonymous()
    };
    format!(
        "GET /diffusion?{} HTTP/1.1\r\nHost: {broker}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        request.to_query()
    )
}

/// A connection over which nothing has been sent.
///
/// # Errors
///
/// If there is none.
pub fn tcp(broker: SocketAddr, wish: &Wish) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(broker), Type::STREAM, None)?;
    // Other systems have no other addresses of their own without being told.
    if cfg!(target_os = "linux") && broker.ip() == Ipv4Addr::LOCALHOST {
        let last = if wish.is_neighbour { 1 } else { 2 + wish.address };
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    }
    socket.connect(&broker.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONG))?;
    Ok(stream)
}

/// Leaves, once everything is sent: also if another thread still reads.
impl Drop for Peer {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// A binary frame of a client, masked with zeros.
#[must_use]
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = head(0x82, message.len());
    frame.extend_from_slice(message);
    frame
}

/// The head of a frame, which begins with this byte.
#[must_use]
pub fn head(first: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(length) {
        Ok(short @ 0..=125) => frame.push(0x80 | short as u8),
        Ok(medium) => {
            frame.push(0x80 | 126);
            frame.extend(medium.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame
}
