//! Readable panic messages. A release has none of it: there a panic is a trap, and its text would be a seventh of the
//! download.

use std::panic;

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Has panics write their message and place to the console, before the trap that they end in.
#[wasm_bindgen(start)]
fn show_panics() {
    panic::set_hook(Box::new(|panic| console_error(&format!("antiphon: {panic}"))));
}
