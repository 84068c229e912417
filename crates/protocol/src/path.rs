//! Message paths: what is valid, the normal form for matching, the parents (rules M-2, M-3).

/// Longest message path, in bytes of UTF-8.
pub const MAX_PATH_BYTES: usize = 2048;

/// Why a text is not a message path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// Nothing, or nothing but slashes.
    #[error("the path is empty")]
    Empty,
    /// Two slashes in a row.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A NUL character.
    #[error("the path has a NUL character")]
    Nul,
    /// More than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
}

/// The normal form of `path`: without one leading and one trailing slash. For matching only; what a handler sees is
/// the path as the sender wrote it.
///
/// # Errors
///
/// [`InvalidPath`] if no handler can ever be at that path.
pub fn normalise(path: &str) -> Result<&str, InvalidPath> {
    if path.len() > MAX_PATH_BYTES {
        return Err(InvalidPath::TooLong);
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Err(InvalidPath::Empty);
    }
    if path.split('/').any(str::is_empty) {
        return Err(InvalidPath::EmptySegment);
    }
    if path.contains('\0') {
        return Err(InvalidPath::Nul);
    }
    Ok(path)
}

/// `path`, which is in normal form, then its parents up to the first segment: the most specific comes first.
pub fn with_parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slash_at_either_end_does_not_matter() {
        for path in ["a/b", "/a/b", "a/b/", "/a/b/"] {
            assert_eq!(normalise(path), Ok("a/b"));
        }
    }

    #[test]
    fn what_no_handler_can_be_at_is_refused() {
        let long = "x".repeat(MAX_PATH_BYTES + 1);
        let cases = [
            ("", InvalidPath::Empty),
            ("/", InvalidPath::Empty),
            ("//", InvalidPath::Empty),
            ("a//b", InvalidPath::EmptySegment),
            ("//a", InvalidPath::EmptySegment),
            ("a\0", InvalidPath::Nul),
            (&long, InvalidPath::TooLong),
        ];
        for (path, error) in cases {
            assert_eq!(normalise(path), Err(error), "{path:?}");
        }
    }

    #[test]
    fn parents_come_after_the_path_most_specific_first() {
        assert_eq!(with_parents("a/b/c").collect::<Vec<_>>(), ["a/b/c", "a/b", "a"]);
    }
}
