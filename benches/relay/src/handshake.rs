//! The server's half of a WebSocket's opening handshake (RFC 6455, section 4.2).

use std::io::{Error, ErrorKind};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a connection asked for.
pub struct Joined {
    pub channel: String,
    pub role: Role,
    /// Bytes that came after the handshake.
    pub rest: Vec<u8>,
}

#[derive(Clone, Copy)]
pub enum Role {
    Requester,
    Handler,
}

pub async fn accept(socket: &mut TcpStream) -> Result<Joined, Error> {
    let mut request = Vec::with_capacity(1024);
    let end = loop {
        if let Some(start) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break start + 4;
        }
        if request.len() > MAX_REQUEST || socket.read_buf(&mut request).await? == 0 {
            return Err(ErrorKind::InvalidData.into());
        }
    };
    let rest = request.split_off(end);
    let request = str::from_utf8(&request).map_err(Error::other)?;
    let (target, key) = parse(request).ok_or(ErrorKind::InvalidData)?;
    let (channel, query) = target.split_once('?').unwrap_or((target, ""));
    let role = if query == "role=handler" { Role::Handler } else { Role::Requester };

    let accepted = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accepted}\r\n\r\n"
    );
    socket.write_all(response.as_bytes()).await?;
    Ok(Joined { channel: channel.to_owned(), role, rest })
}

const MAX_REQUEST: usize = 16 * 1024;
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The target of the request, and the client's key.
fn parse(request: &str) -> Option<(&str, &str)> {
    let target = request.split(' ').nth(1)?;
    let headers = request.lines().filter_map(|line| line.split_once(':'));
    let (_, key) = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    Some((target, key.trim()))
}
