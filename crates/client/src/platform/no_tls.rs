//! What there is instead of TLS in a program that is built without it.

use tokio::net::TcpStream;

use super::SocketEvent;

pub(crate) type Stream = TcpStream;

pub(crate) fn plain(stream: TcpStream) -> Stream {
    stream
}

/// Nobody has to be trusted.
#[derive(Clone, Default)]
pub(crate) struct Trust(());

impl Trust {
    pub async fn prepare(&self, _host: &str) -> Result<Prepared, String> {
        let text = "this program was built without TLS; the feature `tls` of antiphon-client is for wss:// addresses";
        Err(text.to_owned())
    }
}

/// There is none.
pub(crate) enum Prepared {}

impl Prepared {
    pub async fn shake_hands(self, _stream: TcpStream) -> Result<Stream, SocketEvent> {
        match self {}
    }
}
