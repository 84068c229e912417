//! How long recipients may take to answer, where that depends on the path (rules M-15).

use std::time::Duration;

use antiphon_protocol::path::{self, InvalidPath};

/// Times that hold for requests to a path and everything below it, instead of the one that holds for all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathTimeouts {
    /// By path in normal form, the longest first; so the first that fits a request is the most specific.
    by_path: Vec<(String, Duration)>,
}

impl PathTimeouts {
    /// Allows `timeout` for requests to `path` and below it. Returns the time that was set for this path before.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] if no request can ever go there.
    pub fn set(&mut self, path: &str, timeout: Duration) -> Result<Option<Duration>, InvalidPath> {
        let path = path::normalise(path)?;
        if let Some((_, known)) = self.by_path.iter_mut().find(|(known, _)| known == path) {
            return Ok(Some(std::mem::replace(known, timeout)));
        }
        let at = self.by_path.partition_point(|(known, _)| known.len() >= path.len());
        self.by_path.insert(at, (path.to_owned(), timeout));
        Ok(None)
    }

    /// The paths and their times.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.by_path.iter().map(|(path, timeout)| (path.as_str(), *timeout))
    }

    /// The time for requests to `path`, which is in normal form, if one is set for it or for a parent.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Duration> {
        // A few settings of the operator, so going through them beats taking every parent of the path apart.
        self.by_path.iter().find(|(parent, _)| is_at_or_below(path, parent)).map(|(_, timeout)| *timeout)
    }
}

fn is_at_or_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_longest_path_by_whole_segments_wins() {
        let mut timeouts = PathTimeouts::default();
        assert_eq!(timeouts.get("a"), None);
        for (path, timeout) in [("a/b", 2), ("a", 1), ("/a/b/c/", 3), ("a/x", 4), ("longest/of/all", 5)] {
            assert_eq!(timeouts.set(path, seconds(timeout)), Ok(None));
        }
        let cases = [
            ("a", Some(1)),
            ("a/c", Some(1)),
            ("a/bc", Some(1)),
            ("a/b", Some(2)),
            ("a/b/d/e", Some(2)),
            ("a/b/c", Some(3)),
            ("a/b/c/d", Some(3)),
            ("a/x/c", Some(4)),
            ("ab", None),
            ("b/a", None),
            ("longest/of", None),
        ];
        for (path, expected) in cases {
            assert_eq!(timeouts.get(path), expected.map(seconds), "{path}");
        }
    }

    #[test]
    fn a_time_can_be_set_again_but_not_for_what_is_no_path() {
        let mut timeouts = PathTimeouts::default();
        assert_eq!(timeouts.set("a", seconds(1)), Ok(None));
        assert_eq!(timeouts.set("/a", seconds(2)), Ok(Some(seconds(1))));
        assert_eq!(timeouts.get("a/b"), Some(seconds(2)));
        assert_eq!(timeouts.set("", seconds(1)), Err(InvalidPath::Empty));
        assert_eq!(timeouts.set("a//b", seconds(1)), Err(InvalidPath::EmptySegment));
    }
}
