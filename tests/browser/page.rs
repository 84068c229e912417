//! Sessions of a page that is left, wakes, or is restored.

use std::time::Duration;

use antiphon::{CloseCode, Options, SessionEvent};
use futures_util::StreamExt;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::BROKER;
use crate::network::BrowserNetwork;
use crate::shared::{Network, open, open_with, unique};

fn dispatch(expression: &str) {
    js_sys::eval(&format!("globalThis.dispatchEvent({expression})")).expect("dispatched");
}

#[wasm_bindgen_test]
async fn a_page_that_is_left_closes_its_sessions() {
    let name = unique("left");
    let (session, _) = open_with(BROKER, Options::new().property("page", &name)).await;
    dispatch("new PageTransitionEvent('pagehide', { persisted: true })");
    assert!(session.ping().await.is_ok(), "it may come back");
    dispatch("new PageTransitionEvent('pagehide', { persisted: false })");
    assert_eq!(session.closed().await.code, CloseCode::ClosedByClient);
    // The broker knows, and does not wait for it to come back.
    let (_other, messaging) = open(BROKER).await;
    assert_eq!(messaging.send_request_to_filter(&format!("page is '{name}'"), "a", ()).await, Ok(0));
}

#[wasm_bindgen_test]
async fn a_page_from_the_cache_gets_another_connection_at_once() {
    let (session, _) = open(BROKER).await;
    let mut events = session.events();
    dispatch("new PageTransitionEvent('pageshow', { persisted: true })");
    let reason = loop {
        if let SessionEvent::Disconnected { reason } = events.next().await.expect("an open session") {
            break reason;
        }
    };
    assert!(reason.ends_with("the page was in the back/forward cache"), "{reason}");
    while !matches!(events.next().await, Some(SessionEvent::Reconnected { lossless: true, .. })) {}
}

#[wasm_bindgen_test]
async fn a_page_that_is_back_on_the_network_tries_at_once() {
    let network = BrowserNetwork::new();
    let options = Options::new().reconnect_delay(|_| Duration::from_secs(3600));
    let (session, _) = open_with(&network.url(), options).await;
    let mut events = session.events();
    network.take_down();
    while !matches!(events.next().await, Some(SessionEvent::Disconnected { .. })) {}
    network.bring_up();
    dispatch("new Event('online')");
    while !matches!(events.next().await, Some(SessionEvent::Reconnected { .. })) {}
}
