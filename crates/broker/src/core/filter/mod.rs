//! THE place for the session filter language: parse and match (rules 3).
//!
//! A filter is untrusted text: its length and depth are limited, regular expressions take time in proportion to
//! what they are matched against, and every error says where it is.
//!
//! - the tree and what it matches are here.
//! - `parser`: text to tree, and where a text is no filter.
//! - `pattern`: regular expressions.
//! - `work`: how much may be done for one filter.

mod parser;
mod pattern;
mod work;

use std::collections::BTreeSet;

pub use parser::{Fault, MAX_DEPTH, MAX_LENGTH};
use pattern::Pattern;
pub use work::{MAX_WORK, TooMuchWork, Work};

use super::properties::SessionProperties;

/// A parsed session filter.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Every session.
    All,
    /// The property exists and has one of these values.
    In(String, BTreeSet<String>),
    /// The property exists and the whole value matches.
    Matches(String, Box<Pattern>),
    /// The property exists.
    Has(String),
    /// The session has all of these roles.
    HasRoles(BTreeSet<String>),
    /// What it holds does not match.
    Not(Box<Filter>),
    /// All match.
    And(Vec<Filter>),
    /// At least one matches.
    Or(Vec<Filter>),
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        parser::parse(text).0
    }

    /// The same, with the work that was done for it, whatever came of it.
    pub fn parse_counted(text: &str) -> (Result<Self, Fault>, usize) {
        parser::parse(text)
    }

    /// Whether a session with these properties is meant.
    ///
    /// # Errors
    ///
    /// [`TooMuchWork`] if it cannot be found out with what is left of `work`.
    pub fn matches(&self, properties: &SessionProperties, work: &mut Work) -> Result<bool, TooMuchWork> {
        work.spend(1)?;
        match self {
            Self::All => Ok(true),
            Self::In(key, values) => Ok(properties.get(key).is_some_and(|value| values.contains(value))),
            Self::Matches(key, pattern) => properties.get(key).map_or(Ok(false), |value| pattern.is_match(value, work)),
            Self::Has(key) => Ok(properties.get(key).is_some()),
            Self::HasRoles(roles) => Ok(properties.has_roles(roles)),
            Self::Not(filter) => Ok(!filter.matches(properties, work)?),
            Self::And(filters) => {
                for filter in filters {
                    if !filter.matches(properties, work)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(filters) => {
                for filter in filters {
                    if filter.matches(properties, work)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// The values that property `key` must have one of in every session that matches; nothing if it may have any. With
    /// an index over `key`, no other session needs to be looked at.
    #[must_use]
    pub fn required(&self, key: &str) -> Option<BTreeSet<&str>> {
        match self {
            Self::In(other, values) if other == key => Some(values.iter().map(String::as_str).collect()),
            Self::And(filters) => filters.iter().find_map(|filter| filter.required(key)),
            Self::Or(filters) => {
                let mut all = BTreeSet::new();
                for filter in filters {
                    all.extend(filter.required(key)?);
                }
                Some(all)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(properties: &[(&str, &str)]) -> SessionProperties {
        properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn matches(filter: &Filter, session: &SessionProperties) -> bool {
        filter.matches(session, &mut Work::new()).expect("little work")
    }

    fn examples() -> [SessionProperties; 2] {
        let a = session(&[
            ("$Principal", "alice"),
            ("$Roles", r#""CLIENT","OPERATOR""#),
            ("$Country", "FR"),
            ("$Language", "fr"),
            ("$Transport", "WEBSOCKET"),
            ("$ClientType", "JAVASCRIPT_BROWSER"),
            ("$Latitude", "NaN"),
            ("$ClientIP", "192.168.1.7"),
            ("Department", "Accounts"),
            ("Status", "Open"),
            ("Tier", "2"),
            ("Note", r#"it's "x"\y"#),
        ]);
        let b = session(&[
            ("$Principal", ""),
            ("$Roles", r#""CLIENT""#),
            ("$Country", ""),
            ("$Language", ""),
            ("$Transport", "WEBSOCKET"),
            ("$ClientType", "PYTHON"),
            ("$Latitude", "NaN"),
            ("$ClientIP", "10.0.0.1"),
        ]);
        [a, b]
    }

    #[test]
    fn the_45_examples_that_parse_match_whom_they_should() {
        let cases = [
            ("all", "YY"),
            ("ALL", "YY"),
            ("$Principal is 'alice'", "Yn"),
            (r#"$Principal IS "alice""#, "Yn"),
            ("$Principal is 'Alice'", "nn"),
            ("$principal is 'alice'", "nn"),
            ("$Principal is ''", "nY"),
            ("$Principal eq 'alice'", "Yn"),
            ("$Principal ne 'alice'", "nY"),
            ("Department ne 'Payroll'", "YY"),
            ("Department is 'Payroll'", "nn"),
            ("not Department is 'Payroll'", "YY"),
            ("has Department", "Yn"),
            ("not has Department", "nY"),
            ("has $Country", "YY"),
            ("HAS department", "nn"),
            ("$Country in 'UK','DE','FR'", "Yn"),
            ("$Country in ['UK','DE','FR']", "Yn"),
            (r#"$Country in {"UK" "FR"}"#, "Yn"),
            ("$Country IN 'FR'", "Yn"),
            ("Tier in ['1', '2', '3']", "Yn"),
            (r#"hasRoles ["CLIENT"]"#, "YY"),
            (r#"hasRoles "CLIENT" "OPERATOR""#, "Yn"),
            ("hasroles ['OPERATOR','ADMINISTRATOR']", "nn"),
            ("hasRoles ['client']", "nn"),
            (r#"hasRoles ["CLIENT"] and not hasRoles ["OPERATOR"]"#, "nY"),
            (r#"$Roles eq '"CLIENT","OPERATOR"'"#, "Yn"),
            (r#"$Roles eq '"CLIENT"'"#, "nY"),
            (r#"$Roles eq "\"CLIENT\",\"OPERATOR\"""#, "Yn"),
            ("Department is 'Accounts' and Status is 'Closed'", "nn"),
            ("Department is 'X' or Department is 'Accounts' and Status is 'Open'", "Yn"),
            ("Department is 'Accounts' or $Principal is '' and Status is 'Closed'", "Yn"),
            ("(Department is 'Accounts' or $Principal is '') and Status is 'Closed'", "nn"),
            ("not (Department is 'Payroll' or Department is 'Accounts')", "nY"),
            ("not Department is 'Accounts' and $Country is 'FR'", "nn"),
            (r"$ClientIP matches '192\\.168\\..*'", "Yn"),
            ("$Principal matches 'ali'", "nn"),
            ("$Principal matches 'ali.*'", "Yn"),
            ("$ClientType matches '(JAVASCRIPT|PYTHON).*'", "YY"),
            (r#"Note is 'it\'s "x"\\y'"#, "Yn"),
            ("$Latitude is 'NaN'", "YY"),
            ("Tier is '2'AND Status is'Open'", "Yn"),
            ("has Department and has Status or all", "YY"),
            ("$Country is \"FR\"\nand Tier is \"2\"", "Yn"),
            ("$Transport is 'wss'", "nn"),
        ];
        assert_eq!(cases.len(), 45);
        let [a, b] = examples();
        for (text, expected) in cases {
            let filter = Filter::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            let matched: String =
                [&a, &b].map(|session| if matches(&filter, session) { 'Y' } else { 'n' }).iter().collect();
            assert_eq!(matched, expected, "{text}");
        }
    }

    #[test]
    fn the_work_for_one_filter_is_limited() {
        let filter = Filter::parse(&("has z or ".repeat(99) + "has z")).expect("a filter");
        let session = session(&[("name", "ada")]);
        let mut work = Work::new();
        work.spend(MAX_WORK - 1000).expect("left");
        let looked_at = (0..).take_while(|_| filter.matches(&session, &mut work).is_ok()).count();
        assert_eq!(looked_at, 9, "each takes a hundred clauses and what joins them");
    }

    #[test]
    fn an_index_is_used_only_where_nothing_else_can_match() {
        let required = |text: &str| {
            let filter = Filter::parse(text).expect("a filter");
            filter
                .required("$Principal")
                .map(|values| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
        };
        let values = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect());
        assert_eq!(required("$Principal is 'a'"), values(&["a"]));
        assert_eq!(required("$Principal in 'a' 'a' or $Principal is 'a'"), values(&["a"]));
        assert_eq!(required("Tier is '1' and $Principal in ['a', 'b']"), values(&["a", "b"]));
        assert_eq!(required("$Principal is 'a' or $Principal is 'b' and Tier is '1'"), values(&["a", "b"]));
        for other in ["all", "$Principal is 'a' or Tier is '1'", "not $Principal is 'a'", "$Principal ne 'a'"] {
            assert_eq!(required(other), None, "{other}");
        }
    }
}
