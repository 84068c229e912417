//! A valid message path in its normal form.

use antiphon_protocol::path::{self, InvalidPath};

/// A message path in the form in which paths are compared: without a slash at either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NormalPath<'a>(&'a str);

impl<'a> NormalPath<'a> {
    pub fn new(path: &'a str) -> Result<Self, InvalidPath> {
        path::normalise(path).map(Self)
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The path, then its parents up to the first segment: the most specific comes first.
    pub fn with_parents(self) -> impl Iterator<Item = &'a str> {
        path::with_parents(self.0)
    }
}
