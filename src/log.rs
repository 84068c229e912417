//! Messages to the console, as far as the application wants them. Never secrets, never payloads.

use crate::platform;

/// How much is logged; each level includes those before it. The numbers are the order of `LEVELS` in `session.js`.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// The level with this number; the last one for all that are larger.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Off,
            1 => Self::Error,
            2 => Self::Warn,
            3 => Self::Info,
            4 => Self::Debug,
            _ => Self::Trace,
        }
    }

    /// Writes `message` to the console if this level includes `level`.
    pub fn log(self, level: Self, message: impl FnOnce() -> String) {
        if level <= self {
            platform::log(level as u8, &message());
        }
    }
}
