//! What changes when the configuration is read again.

use super::rows::ROWS;
use super::{Fault, Settings, Sources};

/// Settings that have been read again.
#[derive(Debug)]
pub struct Reload {
    /// What holds from now on: as it stands in the file, but for what takes a restart.
    pub settings: Settings,
    /// The keys that changed.
    pub changed: Vec<String>,
    /// Those of them that wait for a restart.
    pub after_restart: Vec<String>,
}

impl Sources {
    /// Reads the settings again, while others hold.
    ///
    /// # Errors
    ///
    /// The first [`Fault`] that is found; then what holds should stay.
    pub fn reload(&self, running: &Settings) -> Result<Reload, Fault> {
        let mut settings = self.load()?;
        let (mut changed, mut after_restart) = (Vec::new(), Vec::new());
        for row in ROWS {
            if (row.show)(running) == (row.show)(&settings) {
                continue;
            }
            if row.is_live {
                changed.push(row.path());
            } else {
                after_restart.push(row.path());
                (row.copy)(running, &mut settings);
            }
        }
        settings.settle();
        let tables = [
            ("anonymous", running.anonymous == settings.anonymous),
            ("users", running.users == settings.users),
            ("tokens", running.tokens == settings.tokens),
            ("roles", running.roles == settings.roles),
        ];
        changed.extend(tables.into_iter().filter(|(_, is_same)| !is_same).map(|(table, _)| table.to_owned()));
        Ok(Reload { settings, changed, after_restart })
    }
}
