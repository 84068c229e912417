//! Where a setting was given, and what is wrong there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value comes from. Flag over variable over file over default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody gave it.
    Default,
    /// A line of the configuration file.
    File {
        /// The file, as it was named.
        file: Arc<Path>,
        /// From 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// An option of the command line.
    Flag(String),
}

impl Place {
    /// The folder that a relative path starts from: that of the file it stands in.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::File { file, .. } => file.parent(),
            _ => None,
        }
    }
}

/// A setting that cannot be used. Displayed as one line: where it is, which it is, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it was given.
    pub place: Place,
    /// Its key in the file, such as `limits.max_sessions` or `users[2].name`; empty if it is about the whole file.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub text: String,
}

impl Fault {
    /// About a whole file, which cannot be read.
    pub(super) fn of_file(file: &Path, text: impl Into<String>) -> Self {
        Self { place: Place::File { file: file.into(), line: 0 }, key: String::new(), text: text.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Default => String::new(),
            Place::File { file, line: 0 } => file.display().to_string(),
            Place::File { file, line } => format!("{}:{line}", file.display()),
            Place::Variable(name) | Place::Flag(name) => name.clone(),
        };
        // A flag and a variable are named after the key.
        let key = match &self.place {
            Place::Variable(_) | Place::Flag(_) => "",
            _ => &self.key,
        };
        let parts = [&place, key, &self.text];
        let line = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        f.write_str(&printable(&line))
    }
}

impl std::error::Error for Fault {}

/// The text without what would end the line or steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// The text in quotation marks, shortened.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let short: String = text.chars().take(LONGEST).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\"", printable(&short))
}

/// Of `names`, the one that was probably meant by `given`.
pub(super) fn nearest<'n>(given: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let given = given.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &name.to_lowercase());
    let best = names.into_iter().min_by_key(|name| distance(name))?;
    (distance(best) <= 1 + best.len() / 4).then_some(best)
}

/// A file beside the one that names it.
pub(super) fn beside(place: &Place, path: &str) -> PathBuf {
    place.folder().map_or_else(|| path.into(), |folder| folder.join(path))
}
