//! A valid message path in its normal form.

use std::iter;

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
        let path = self.0;
        let mut next = Some(0);
        iter::from_fn(move || {
            let start = next?;
            let slash = path.as_bytes()[start..].iter().position(|byte| *byte == b'/').map(|length| start + length);
            next = slash.map(|slash| slash + 1);
            Some(&path[..slash.unwrap_or(path.len())])
        })
    }
}
