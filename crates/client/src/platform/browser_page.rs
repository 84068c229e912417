//! What happens to the page that its connections do not tell.

use std::future::pending;

use futures_channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures_util::StreamExt;
use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use web_sys::{Document, Event, EventTarget, PageTransitionEvent};

use crate::driver::PageEvent;

/// Listens to the page, if there is one: there is none in a worker, where nothing happens.
pub(crate) struct Page {
    listeners: Vec<Listener>,
    /// Bounded by what happens to the page before the session's task runs again.
    events: UnboundedReceiver<PageEvent>,
}

struct Listener {
    target: EventTarget,
    kind: &'static str,
    function: Closure<dyn Fn(Event)>,
}

impl Page {
    pub fn new() -> Self {
        let (tell, events) = mpsc::unbounded();
        let global = js_sys::global();
        let document = Reflect::get(&global, &"document".into()).ok().and_then(|it| it.dyn_into::<Document>().ok());
        let mut listeners = Vec::new();
        // The global object of pages and workers alike.
        let global: EventTarget = global.unchecked_into();
        let woken = |_: &Event| Some(PageEvent::Woken { restored: false });
        listeners.extend(Listener::new(&global, "pagehide", &tell, |event| {
            (!is_persisted(event)).then_some(PageEvent::Left)
        }));
        listeners.extend(Listener::new(&global, "pageshow", &tell, |event| {
            is_persisted(event).then_some(PageEvent::Woken { restored: true })
        }));
        listeners.extend(Listener::new(&global, "online", &tell, woken));
        if let Some(document) = document {
            listeners.extend(Listener::new(&document, "resume", &tell, woken));
            let is_hidden = document.clone();
            listeners.extend(Listener::new(&document, "visibilitychange", &tell, move |event| {
                if is_hidden.hidden() { None } else { woken(event) }
            }));
        }
        Self { listeners, events }
    }

    /// Waits until something happens. Nothing is lost when the future is dropped before.
    pub async fn next(&mut self) -> PageEvent {
        match self.events.next().await {
            Some(event) => event,
            None => pending().await,
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        for Listener { target, kind, function } in &self.listeners {
            // Throws for targets that are none.
            let _ = target.remove_event_listener_with_callback(kind, function.as_ref().unchecked_ref());
        }
    }
}

impl Listener {
    fn new(
        target: &EventTarget,
        kind: &'static str,
        tell: &UnboundedSender<PageEvent>,
        read: impl Fn(&Event) -> Option<PageEvent> + 'static,
    ) -> Option<Self> {
        let tell = tell.clone();
        let function = Closure::<dyn Fn(Event)>::new(move |event: Event| {
            if let Some(told) = read(&event) {
                // The other end is gone with the listeners.
                let _ = tell.unbounded_send(told);
            }
        });
        target.add_event_listener_with_callback(kind, function.as_ref().unchecked_ref()).ok()?;
        Some(Self { target: target.clone(), kind, function })
    }
}

/// Posts a session token to the server's door for pages that are left, whatever comes of it.
pub(crate) fn tell_of_leaving(url: &str, token: &str) {
    if let Some(window) = web_sys::window() {
        // The browser may refuse to; there is nobody left to tell.
        let _ = window.navigator().send_beacon_with_opt_str(url, Some(token));
    }
}

/// Whether the page goes to, or comes from, the back/forward cache.
fn is_persisted(event: &Event) -> bool {
    event.dyn_ref::<PageTransitionEvent>().is_some_and(PageTransitionEvent::persisted)
}
