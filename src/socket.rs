//! The browser's WebSocket, or another constructor that makes something like it.

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

use crate::listener::Listener;

/// An open or opening WebSocket. Closes when it is dropped, and is then silent.
pub struct Socket {
    web_socket: WebSocket,
    listener: Listener,
}

impl Socket {
    /// Opens a WebSocket, whose events come under the number `connection`, through [`Listener::listen`].
    ///
    /// # Errors
    ///
    /// Why it cannot be opened, for example because the page may not connect there.
    pub fn open(url: &str, connection: f64, listener: &Listener) -> Result<Self, String> {
        let constructor = listener.web_socket();
        let made = match &constructor {
            Some(constructor) => Reflect::construct(constructor, &Array::of1(&url.into())).map(JsCast::unchecked_into),
            None => WebSocket::new(url),
        };
        let web_socket: WebSocket = made.map_err(|thrown| listener.describe(&thrown))?;
        if constructor.is_none() && web_socket.ready_state() == WebSocket::CLOSED {
            // No event will say so in Chromium.
            return Err("the browser refused it at once; its Content Security Policy may want it in connect-src".into());
        }
        let socket = Self { web_socket, listener: listener.clone() };
        match listener.listen(connection, &socket.web_socket) {
            Some(fault) => Err(fault),
            None => Ok(socket),
        }
    }

    /// Sends a binary message. On a socket that is closing nothing is sent, and the close event follows.
    pub fn send(&self, frame: &[u8]) {
        // A copy: some platforms read it only after this has returned, when the memory of WebAssembly may have something else.
        let sent = self.web_socket.send_with_js_u8_array(&Uint8Array::from(frame));
        // Throws only while the socket is connecting, when the core sends nothing.
        debug_assert!(sent.is_ok());
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listener.close_socket(&self.web_socket);
    }
}
