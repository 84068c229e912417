//! The wire form of session properties, kept for the requests that they go with.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use antiphon_protocol::wire::encoded;
use antiphon_protocol::wire::layouts::Properties;

use super::properties::{Selection, SessionProperties};

/// The wire form of a session's properties, as those asked for them last who wanted the same of every request. It is made
/// once, for as long as the properties are the same.
#[derive(Debug, Default)]
pub(super) struct Prepared(Vec<(Weak<Selection>, Box<[u8]>)>);

/// Selections for which it is kept, and the most bytes for each: to copy more takes about as long as to make it.
const COUNT: usize = 4;
const LARGEST: usize = 4 << 10;

impl Prepared {
    /// Those of `properties` that `selection` asks for, if it asks for any. They are the same as at the last time.
    pub fn selected(&mut self, properties: &SessionProperties, selection: Option<&Arc<Selection>>) -> Cow<'_, [u8]> {
        let Some(selection) = selection else { return encoded(&Properties::new()).into() };
        let is_same = |(other, _): &(Weak<Selection>, _)| std::ptr::eq(other.as_ptr(), &raw const **selection);
        let at = match self.0.iter().position(is_same) {
            Some(at) => at,
            None => {
                let bytes = encoded(&properties.selected(selection));
                if bytes.len() > LARGEST {
                    return bytes.into();
                }
                if self.0.len() == COUNT {
                    self.0.remove(0);
                }
                self.0.push((Arc::downgrade(selection), bytes.into()));
                self.0.len() - 1
            }
        };
        Cow::Borrowed(&self.0[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_would_be_made() {
        let with = |value: &str| {
            let properties = [("$Principal", "ada"), ("a", "b"), ("team", value)];
            SessionProperties::from_iter(properties.map(|(key, value)| (key.to_owned(), value.to_owned())))
        };
        let none = encoded(&Properties::new());
        let selections: Vec<_> = [&["*U"][..], &["*F"], &["team"], &["team", "a"], &["no"], &["*U"]]
            .into_iter()
            .map(|keys| Arc::new(Selection::of_keys(keys).expect("small enough")))
            .collect();
        for properties in [with("red"), with(&"v".repeat(LARGEST))] {
            let mut prepared = Prepared::default();
            assert_eq!(*prepared.selected(&properties, None), *none);
            for selection in selections.iter().chain(&selections).chain(selections.last()) {
                let expected = encoded(&properties.selected(selection));
                assert_eq!(*prepared.selected(&properties, Some(selection)), *expected, "{selection:?}");
            }
            assert!(!prepared.0.is_empty() && prepared.0.len() <= COUNT);
            assert!(prepared.0.iter().all(|(_, bytes)| bytes.len() <= LARGEST));
        }
    }
}
