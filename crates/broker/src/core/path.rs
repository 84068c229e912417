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

    /// The same of a path that is registered.
    pub fn of_registered(path: &'a str) -> Self {
        Self(path)
    }

    /// Its parents, from the first segment on, then the path itself.
    pub fn beginnings(self) -> impl Iterator<Item = &'a str> {
        let slashes = self.0.match_indices('/').map(|(at, _)| at);
        slashes.chain([self.0.len()]).map(|end| &self.0[..end])
    }
}
