//! Messages to the console, as far as the application wants them. Never secrets, never payloads.

use crate::platform;

/// How much is logged; each level includes those before it.
#[derive(Clone, Copy, Default, PartialEq, PartialOrd)]
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
    /// The level that an application named.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "off" => Self::Off,
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }

    /// Writes `message` to the console if this level includes `level`.
    pub fn log(self, level: Self, message: impl FnOnce() -> String) {
        if level > self {
            return;
        }
        let method = match level {
            Self::Off => return,
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug | Self::Trace => "debug",
        };
        platform::log(method, &message());
    }
}
