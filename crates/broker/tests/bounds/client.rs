//! A client that writes whatever bytes it is told to, and reads only when it is told to.

use antiphon_protocol::wire::envelope::request_frame;
use antiphon_protocol::wire::handshake::{ConnectResponse, ResponseCode};
use antiphon_protocol::wire::layouts::{SendToPath, SendToSession, SerialisedValue};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{MessagingReceiverServer, MessagingSend, UserPing};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::LONG;

pub const CONTINUATION: u8 = 0;
pub const BINARY: u8 = 2;
const CLOSE: u8 = 8;
pub const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame of a client. The mask is 0, so the payload stands as it is.
pub fn frame(opcode: u8, payload: &[u8], is_last: bool) -> Vec<u8> {
    [&head(opcode, payload.len(), is_last), payload].concat()
}

/// The head of a frame that has so many bytes, or says so.
pub fn head(opcode: u8, length: usize, is_last: bool) -> Vec<u8> {
    let first = if is_last { 0x80 | opcode } else { opcode };
    let short = u8::try_from(length).ok().filter(|length| *length <= 125);
    match short {
        Some(length) => vec![first, 0x80 | length, 0, 0, 0, 0],
        None => [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes(), &[0; 4]].concat(),
    }
}

pub struct Client {
    stream: BufReader<TcpStream>,
    response: Option<ConnectResponse>,
    conversations: i64,
}

impl Client {
    /// Opens a session that is kept for a minute without a connection.
    pub async fn open(port: u16) -> Self {
        let client = Self::open_with(port, "").await;
        assert_eq!(client.code(), ResponseCode::OK);
        client
    }

    /// Takes a session up again of which nothing was received.
    pub async fn reopen(port: u16, token: &str) -> Self {
        Self::open_with(port, &format!("c={token}&cs=1&ss=0")).await
    }

    /// Opens a connection with these parameters besides the usual ones.
    pub async fn open_with(port: u16, query: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let request = format!(
            "GET /diffusion?ty=WB&v=25&ca=8&r=60000&{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a response"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let mut client = Self { stream, response: None, conversations: 0 };
        let response = timeout(LONG, client.message()).await.expect("in time").expect("a connection response");
        client.response = Some(ConnectResponse::decode(&response).expect("a connection response"));
        client
    }

    fn response(&self) -> &ConnectResponse {
        self.response.as_ref().expect("it has come")
    }

    pub fn code(&self) -> ResponseCode {
        match self.response() {
            ConnectResponse::Accepted { code, .. } | ConnectResponse::Refused { code, .. } => *code,
        }
    }

    pub fn session(&self) -> SessionId {
        match self.response() {
            ConnectResponse::Accepted { session, .. } => *session,
            ConnectResponse::Refused { code, .. } => panic!("refused: {code:?}"),
        }
    }

    pub fn token(&self) -> String {
        match self.response() {
            ConnectResponse::Accepted { token, .. } => token.as_text().to_owned(),
            ConnectResponse::Refused { code, .. } => panic!("refused: {code:?}"),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.expect("sent");
    }

    /// Whether the connection is still there.
    pub async fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).await.is_ok()
    }

    /// The next frame; nothing if the connection has ended.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let length = match self.stream.read_u8().await.ok()? {
            126 => self.stream.read_u16().await.ok()?.into(),
            127 => self.stream.read_u64().await.ok()?,
            length => length.into(),
        };
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((first & 0x0F, payload))
    }

    /// The next message; nothing if the connection has ended.
    pub async fn message(&mut self) -> Option<Vec<u8>> {
        loop {
            let (opcode, payload) = self.frame().await?;
            if opcode == BINARY {
                return Some(payload);
            }
        }
    }

    /// Waits for a pong.
    pub async fn pong(&mut self) {
        while self.frame().await.expect("a pong").0 != PONG {}
    }

    /// Reads to the end. What the close frame says, if there is one.
    pub async fn end(&mut self) -> Option<(u16, String)> {
        loop {
            let (opcode, payload) = self.frame().await?;
            if opcode == CLOSE {
                let (code, reason) = payload.split_first_chunk().expect("a code");
                return Some((u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).expect("a reason")));
            }
        }
    }

    fn next_conversation(&mut self) -> ConversationId {
        self.conversations += 1;
        ConversationId(self.conversations)
    }

    pub async fn send_to_session(&mut self, session: SessionId, bytes: &[u8]) {
        let request = SerialisedValue { type_name: "binary", bytes };
        let body = SendToSession { session, path: "a", request };
        let message = request_frame::<MessagingReceiverServer>(self.next_conversation(), &body, bytes.len() + 64);
        self.write(&frame(BINARY, &message, true)).await;
    }

    /// A request that is refused, in a frame.
    pub fn request_to_nobody(&mut self, bytes: &[u8]) -> Vec<u8> {
        let body = SendToPath { path: "nobody", request: SerialisedValue { type_name: "binary", bytes } };
        frame(BINARY, &request_frame::<MessagingSend>(self.next_conversation(), &body, bytes.len() + 64), true)
    }

    /// A ping of the protocol.
    pub fn user_ping(conversation: i64) -> Vec<u8> {
        request_frame::<UserPing>(ConversationId(conversation), &(), 0)
    }

    /// Whether all is well still.
    pub async fn ping_pong(&mut self) {
        let conversation = self.next_conversation();
        let ping = frame(BINARY, &Self::user_ping(conversation.0), true);
        self.write(&ping).await;
        let answer = async { while self.message().await.expect("an answer") != [6, ping[ping.len() - 1]] {} };
        timeout(LONG, answer).await.expect("in time");
    }
}
