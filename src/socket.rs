//! The browser's WebSocket, or another constructor that makes something like it.

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

use crate::link::Link;

/// An open or opening WebSocket. Owns its listener; closes when it is dropped, and is then silent.
pub struct Socket {
    web_socket: WebSocket,
    link: Link,
    /// Whether bytes must be copied out of the memory of WebAssembly: browsers copy by themselves, others may not.
    copies: bool,
    _listener: Closure<dyn Fn(u8, JsValue)>,
}

/// What happens on a socket.
pub enum SocketEvent {
    Open,
    /// A binary message.
    Frame(Vec<u8>),
    /// A message that is not binary; no peer of ours sends these.
    Text,
    /// Nothing follows.
    Closed {
        code: u16,
        reason: String,
    },
}

impl Socket {
    /// Opens a WebSocket. `listen` is called with what happens on it, never before this returns.
    ///
    /// # Errors
    ///
    /// What the constructor throws, for example because the page may not connect there.
    pub fn open(url: &str, link: &Link, listen: impl Fn(SocketEvent) + 'static) -> Result<Self, JsValue> {
        let constructor = link.web_socket();
        let web_socket: WebSocket = match &constructor {
            Some(constructor) => Reflect::construct(constructor, &Array::of1(&url.into()))?.unchecked_into(),
            None => WebSocket::new(url)?,
        };
        if constructor.is_none() && web_socket.ready_state() == WebSocket::CLOSED {
            // No event will say so in Chromium.
            return Err("the browser refused it at once; its Content Security Policy may want it in connect-src".into());
        }
        let listener = Closure::<dyn Fn(u8, JsValue)>::new({
            let link = link.clone();
            move |number, event: JsValue| {
                listen(match number {
                    0 => SocketEvent::Open,
                    1 => link.frame_of(&event).map_or(SocketEvent::Text, |frame| SocketEvent::Frame(frame.to_vec())),
                    _ => SocketEvent::Closed { code: link.close_code(&event), reason: link.close_reason(&event) },
                });
            }
        });
        let socket = Self { web_socket, link: link.clone(), copies: constructor.is_some(), _listener: listener };
        link.listen(&socket.web_socket, socket._listener.as_ref())?;
        Ok(socket)
    }

    /// Sends a binary message. On a socket that is closing nothing is sent, and the close event follows.
    pub fn send(&self, frame: &[u8]) {
        let sent = if self.copies {
            self.web_socket.send_with_js_u8_array(&Uint8Array::from(frame))
        } else {
            self.web_socket.send_with_u8_array(frame)
        };
        // Throws only while the socket is connecting, when the core sends nothing.
        debug_assert!(sent.is_ok());
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.link.close_socket(&self.web_socket);
    }
}
