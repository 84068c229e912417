//! A network that can be taken down: a `WebSocket` in place of the browser's, which knows those that were made.

use wasm_bindgen::prelude::*;

use crate::shared::{Network, unique};

#[wasm_bindgen(inline_js = r#"
const Native = globalThis.WebSocket;
const down = new Set();
const sockets = new Map();
const networkOf = (url) => new URL(url).searchParams.get("network");

globalThis.WebSocket = class extends Native {
  constructor(url) {
    const network = networkOf(url);
    // Where nothing listens.
    super(down.has(network) ? "ws://127.0.0.1:9" : url);
    if (network) sockets.set(network, [...(sockets.get(network) ?? []), this]);
  }
};

export function takeDown(network) {
  down.add(network);
  for (const socket of sockets.get(network) ?? []) socket.close();
}

export function bringUp(network) {
  down.delete(network);
}
"#)]
extern "C" {
    #[wasm_bindgen(js_name = takeDown)]
    fn take_down(network: &str);
    #[wasm_bindgen(js_name = bringUp)]
    fn bring_up(network: &str);
}

/// One that no other test uses.
pub struct BrowserNetwork(String);

impl BrowserNetwork {
    pub fn new() -> Self {
        Self(unique("network"))
    }
}

impl Network for BrowserNetwork {
    fn url(&self) -> String {
        format!("{}/antiphon?network={}", crate::BROKER.trim_end_matches("/diffusion"), self.0)
    }

    fn take_down(&self) {
        take_down(&self.0);
    }

    fn bring_up(&self) {
        bring_up(&self.0);
    }
}
