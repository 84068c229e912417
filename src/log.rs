//! Messages to the console, as far as the application wants them. Never secrets, never payloads.

use wasm_bindgen::JsValue;
use web_sys::console;

/// How much is logged; each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Off,
    Error,
    #[default]
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// Writes `message` to the console if this level includes `level`.
    pub fn log(self, level: Self, message: impl FnOnce() -> String) {
        if level > self {
            return;
        }
        let text = JsValue::from(format!("antiphon: {}", message()));
        match level {
            Self::Off => {}
            Self::Error => console::error_1(&text),
            Self::Warn => console::warn_1(&text),
            Self::Info => console::info_1(&text),
            Self::Debug | Self::Trace => console::debug_1(&text),
        }
    }
}
