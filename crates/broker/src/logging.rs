//! The log: on stderr, one event in a line, whatever text of a client is in it.

use std::io::{self, Write};

use antiphon_broker::settings::LogFormat;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

/// The log of this process.
pub struct Logging(reload::Handle<LevelFilter, Registry>);

impl Logging {
    /// Begins it.
    pub fn start(level: LevelFilter, format: LogFormat) -> Self {
        let (filter, handle) = reload::Layer::new(level);
        let registry = tracing_subscriber::registry().with(filter);
        match format {
            LogFormat::Text => {
                registry.with(fmt::layer().with_ansi(false).with_writer(|| Printable(io::stderr()))).init()
            }
            LogFormat::Json => registry.with(fmt::layer().json().with_writer(io::stderr)).init(),
        }
        Self(handle)
    }

    /// How much is logged from now on.
    pub fn set_level(&self, level: LevelFilter) {
        // Fails only when there is no log any more.
        let _ = self.0.reload(level);
    }
}

/// Writes lines in which nothing ends the line or steers a terminal. What is written at once is one line.
struct Printable<W>(W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.contains(char::is_control) {
            let escaped = line.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
                if character.is_control() {
                    escaped.extend(character.escape_default());
                } else {
                    escaped.push(character);
                }
                escaped
            });
            self.0.write_all(format!("{escaped}\n").as_bytes())?;
        } else {
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_steers_no_terminal() {
        for (given, written) in [
            ("INFO opened path=a/b\n", "INFO opened path=a/b\n"),
            ("INFO name=\u{1b}[31mred\n", "INFO name=\\u{1b}[31mred\n"),
            ("INFO name=a\nINFO forged\r\n", "INFO name=a\\nINFO forged\\r\n"),
            ("INFO \u{9b}31m \u{7f} \u{e9}\n", "INFO \\u{9b}31m \\u{7f} \u{e9}\n"),
        ] {
            let mut out = Printable(Vec::new());
            out.write_all(given.as_bytes()).expect("written");
            assert_eq!(String::from_utf8(out.0).expect("text"), written);
        }
    }
}
