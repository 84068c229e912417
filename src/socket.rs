//! The browser's WebSocket, or another constructor that makes something like it.

use js_sys::{ArrayBuffer, Function, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

/// An open or opening WebSocket. Owns its listeners; closes when it is dropped, and is then silent.
pub struct Socket {
    web_socket: WebSocket,
    /// Whether bytes must be copied out of the memory of WebAssembly: browsers copy by themselves, others may not.
    copies: bool,
    _on_open: Closure<dyn Fn()>,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_close: Closure<dyn Fn(CloseEvent)>,
    _on_error: Closure<dyn Fn()>,
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
    pub fn open(
        url: &str,
        constructor: Option<&Function>,
        listen: impl Fn(SocketEvent) + Clone + 'static,
    ) -> Result<Self, JsValue> {
        let web_socket = match constructor {
            Some(constructor) => Reflect::construct(constructor, &js_sys::Array::of1(&url.into()))?.unchecked_into(),
            None => WebSocket::new(url)?,
        };
        web_socket.set_binary_type(BinaryType::Arraybuffer);
        let on_open = Closure::<dyn Fn()>::new({
            let listen = listen.clone();
            move || listen(SocketEvent::Open)
        });
        let on_message = Closure::<dyn Fn(MessageEvent)>::new({
            let listen = listen.clone();
            move |event: MessageEvent| {
                let data = event.data();
                listen(if data.is_instance_of::<ArrayBuffer>() {
                    SocketEvent::Frame(Uint8Array::new(&data).to_vec())
                } else {
                    SocketEvent::Text
                });
            }
        });
        let on_close = Closure::<dyn Fn(CloseEvent)>::new(move |event: CloseEvent| {
            listen(SocketEvent::Closed { code: event.code(), reason: event.reason() });
        });
        // Says nothing that the close event does not say; but a library may throw if nobody listens.
        let on_error = Closure::<dyn Fn()>::new(|| {});
        web_socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        web_socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        web_socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        web_socket.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Ok(Self {
            web_socket,
            copies: constructor.is_some(),
            _on_open: on_open,
            _on_message: on_message,
            _on_close: on_close,
            _on_error: on_error,
        })
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
        self.web_socket.set_onopen(None);
        self.web_socket.set_onmessage(None);
        self.web_socket.set_onclose(None);
        self.web_socket.set_onerror(None);
        // Throws only for codes that we do not give.
        let _ = self.web_socket.close();
    }
}
