//! The browser's WebSocket.

use std::future::pending;

use antiphon_protocol::recovery::Frame;
use futures_channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures_util::StreamExt;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

use super::SocketEvent;
use crate::driver::ABNORMAL;

/// The bytes of a message that has arrived.
pub(crate) type MessageBytes = Vec<u8>;

/// Browsers decide whom they trust.
#[derive(Clone, Default)]
pub(crate) struct Trust(());

/// A WebSocket that is opening, open or gone. Closes when it is dropped.
pub(crate) struct Socket {
    /// None if it was refused at once.
    web_socket: Option<WebSocket>,
    /// Bounded by what the server sends before the session's task runs again, as the browser's own queue of events is.
    events: UnboundedReceiver<SocketEvent>,
    _listeners: Option<Listeners>,
}

struct Listeners {
    _open: Closure<dyn Fn()>,
    _message: Closure<dyn Fn(MessageEvent)>,
    _close: Closure<dyn Fn(CloseEvent)>,
    _error: Closure<dyn Fn()>,
}

impl Socket {
    /// Starts opening a WebSocket at `url`. The size of messages is bounded by the browser, and looked at by the core.
    pub fn open(url: String, _max_message_size: usize, _trust: &Trust) -> Self {
        let (tell, events) = mpsc::unbounded();
        let refused = |reason: String| {
            let (tell, events) = mpsc::unbounded();
            say(&tell, SocketEvent::Gone { reason, can_pass: false });
            Self { web_socket: None, events, _listeners: None }
        };
        match WebSocket::new(&url) {
            // No event will say so in Chromium.
            Ok(web_socket) if web_socket.ready_state() == WebSocket::CLOSED => refused(
                "the browser refused it at once; its Content Security Policy may want it in connect-src".to_owned(),
            ),
            Ok(web_socket) => {
                let listeners = Listeners::new(&web_socket, &tell);
                Self { web_socket: Some(web_socket), events, _listeners: Some(listeners) }
            }
            Err(thrown) => refused(js_sys::Error::from(thrown).message().into()),
        }
    }

    /// Sends a binary message. On a socket that is closing nothing is sent, and its end follows.
    pub fn send(&mut self, frame: Frame) {
        if let Some(web_socket) = &self.web_socket {
            // A copy: a WebSocket may read it later, when the memory of WebAssembly has something else there.
            let copy = Uint8Array::from(&*frame);
            // Throws only while the socket is connecting, when the core sends nothing.
            let sent = web_socket.send_with_js_u8_array(&copy);
            debug_assert!(sent.is_ok());
        }
    }

    /// Whether what is sent now is written.
    pub fn is_open(&self) -> bool {
        self.web_socket.as_ref().is_some_and(|web_socket| web_socket.ready_state() == WebSocket::OPEN)
    }

    /// Waits until something happens. Nothing is lost when the future is dropped before.
    pub async fn next(&mut self) -> SocketEvent {
        match self.events.next().await {
            Some(event) => event,
            None => pending().await,
        }
    }

    /// Closes the WebSocket; what was sent before is still written.
    pub async fn close(self) {}
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(web_socket) = &self.web_socket {
            web_socket.set_onopen(None);
            web_socket.set_onmessage(None);
            web_socket.set_onclose(None);
            web_socket.set_onerror(None);
            // Throws for codes and reasons alone.
            let _ = web_socket.close();
        }
    }
}

impl Listeners {
    fn new(web_socket: &WebSocket, tell: &UnboundedSender<SocketEvent>) -> Self {
        web_socket.set_binary_type(BinaryType::Arraybuffer);
        let open = {
            let tell = tell.clone();
            Closure::<dyn Fn()>::new(move || say(&tell, SocketEvent::Open))
        };
        let message = {
            let tell = tell.clone();
            Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
                say(
                    &tell,
                    match event.data().dyn_into::<ArrayBuffer>() {
                        Ok(bytes) => SocketEvent::Message(Uint8Array::new(&bytes).to_vec()),
                        Err(_) => SocketEvent::Violation("the server sent a text message".to_owned()),
                    },
                );
            })
        };
        let close = {
            let tell = tell.clone();
            Closure::<dyn Fn(CloseEvent)>::new(move |event: CloseEvent| {
                say(&tell, SocketEvent::Closed { code: event.code(), reason: event.reason() });
            })
        };
        // WebKit sends no close event after it, for some ports; and it says nothing that the other would not say.
        let error = {
            let tell = tell.clone();
            Closure::<dyn Fn()>::new(move || say(&tell, SocketEvent::Closed { code: ABNORMAL, reason: String::new() }))
        };
        web_socket.set_onopen(Some(open.as_ref().unchecked_ref()));
        web_socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        web_socket.set_onclose(Some(close.as_ref().unchecked_ref()));
        web_socket.set_onerror(Some(error.as_ref().unchecked_ref()));
        Self { _open: open, _message: message, _close: close, _error: error }
    }
}

fn say(tell: &UnboundedSender<SocketEvent>, event: SocketEvent) {
    // The other end is gone with the socket that these are listeners of.
    let _ = tell.unbounded_send(event);
}
