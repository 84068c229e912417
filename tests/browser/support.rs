//! The broker that the tests use.

use js_sys::Promise;
use wasm_bindgen_futures::JsFuture;
use web_sys::WebSocket;

/// Its address.
pub const BROKER: &str = match option_env!("BROKER_URL") {
    Some(url) if !url.is_empty() => url,
    _ => "ws://127.0.0.1:8080/diffusion",
};

/// Fails with what to do about it unless a broker listens at [`BROKER`].
pub async fn expect_broker() {
    let socket = WebSocket::new(&format!("{BROKER}?ty=WB&v=25&ca=8&r=0")).expect("an address");
    let opened = Promise::new(&mut |resolve, reject| {
        socket.set_onopen(Some(&resolve));
        socket.set_onerror(Some(&reject));
    });
    let listens = JsFuture::from(opened).await.is_ok();
    assert!(
        listens,
        "these tests need a broker and none listens at {BROKER}: `cargo run --release -p antiphon-broker` starts one \
         there, and BROKER_URL names another when the tests are built"
    );
    let _ = socket.close();
}
