//! THE place for the session filter language: parse and match (rules 3).
//!
//! A filter is text from a stranger: its length and depth are limited, regular expressions take time in proportion to
//! what they are matched against, and every error says where it is.

use std::collections::BTreeSet;
use std::fmt;

use super::pattern::{Limits, Pattern};
use super::properties::SessionProperties;

/// Longest filter, in characters.
pub const MAX_LENGTH: usize = 16_384;
/// Most `not`s and parentheses that may be nested in each other.
pub const MAX_DEPTH: usize = 64;
/// Most that is done to find the sessions that one filter matches, in parts of filters looked at: about a tenth of a
/// second, during which nobody else is served. Enough for 10,000 sessions and 300 clauses.
pub const MAX_WORK: usize = 3_000_000;

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

/// Where and why a filter does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For people.
    pub message: String,
    /// From 1.
    pub line: u32,
    /// From 0, in characters: the first offending one, or just past the last if more was expected.
    pub column: u32,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut parser = Parser { rest: text, at: Position { line: 1, column: 0 }, depth: 0, limits: Limits::new() };
        if text.chars().nth(MAX_LENGTH).is_some() {
            return Err(parser.at.fault(format!("the filter is longer than {MAX_LENGTH} characters")));
        }
        let filter = parser.or()?;
        match parser.next()? {
            (_, Token::End) => Ok(filter),
            (at, Token::Punctuation(')')) => Err(at.fault("there is no ( for this )")),
            (at, token) => Err(at.fault(format!("`and`, `or` or the end expected, not {token}"))),
        }
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

/// What may still be done for one filter, so that it cannot hold up everybody else for long.
#[derive(Debug)]
pub struct Work(usize);

/// Finding the sessions that a filter matches would take more than [`MAX_WORK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("to find the sessions that match this filter would take too long")]
pub struct TooMuchWork;

impl Work {
    /// As much as there is for one filter.
    #[must_use]
    pub fn new() -> Self {
        Self(MAX_WORK)
    }

    /// Takes `units` from what is left; one is about a comparison with a property.
    pub(super) fn spend(&mut self, units: usize) -> Result<(), TooMuchWork> {
        self.0 = self.0.checked_sub(units).ok_or(TooMuchWork)?;
        Ok(())
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads from the front of a filter, token by token; so the first error is the one that is reported.
struct Parser<'a> {
    rest: &'a str,
    at: Position,
    /// Number of `not`s and parentheses around.
    depth: usize,
    /// Of regular expressions.
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Position {
    line: u32,
    column: u32,
}

impl Position {
    fn fault(self, message: impl Into<String>) -> Fault {
        Fault { message: message.into(), line: self.line, column: self.column }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A key or a keyword.
    Word(String),
    Text(String),
    Punctuation(char),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "`{word}`"),
            Self::Text(_) => f.write_str("a quoted value"),
            Self::Punctuation(character) => write!(f, "`{character}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// Words with a meaning; none of them can be a key where a clause begins.
const KEYWORDS: [&str; 11] = ["or", "and", "not", "all", "has", "hasroles", "is", "eq", "ne", "matches", "in"];

impl Parser<'_> {
    fn or(&mut self) -> Result<Filter, Fault> {
        let mut filters = vec![self.and()?];
        while self.take_keyword("or")? {
            filters.push(self.and()?);
        }
        Ok(one_or(filters, Filter::Or))
    }

    fn and(&mut self) -> Result<Filter, Fault> {
        let mut filters = vec![self.unary()?];
        while self.take_keyword("and")? {
            filters.push(self.unary()?);
        }
        Ok(one_or(filters, Filter::And))
    }

    fn unary(&mut self) -> Result<Filter, Fault> {
        match self.next()? {
            (_, Token::Word(word)) if word.eq_ignore_ascii_case("not") => {
                self.nested(|parser| Ok(Filter::Not(Box::new(parser.unary()?))))
            }
            (_, Token::Punctuation('(')) => self.nested(|parser| {
                let filter = parser.or()?;
                parser.expect(')')?;
                Ok(filter)
            }),
            (at, Token::Word(word)) => self.clause(at, word),
            (at, token) => Err(at.fault(format!("a property key, `not` or `(` expected, not {token}"))),
        }
    }

    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Result<Filter, Fault>) -> Result<Filter, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(self
                .at
                .fault(format!("more than {MAX_DEPTH} `not`s and parentheses are nested in each other")));
        }
        self.depth += 1;
        let filter = parse(self)?;
        self.depth -= 1;
        Ok(filter)
    }

    fn clause(&mut self, at: Position, word: String) -> Result<Filter, Fault> {
        match word.to_ascii_lowercase().as_str() {
            "all" => Ok(Filter::All),
            "has" => match self.next()? {
                (_, Token::Word(key)) => Ok(Filter::Has(key)),
                (at, token) => Err(at.fault(format!("a property key expected, not {token}"))),
            },
            "hasroles" => Ok(Filter::HasRoles(self.list()?)),
            keyword if KEYWORDS.contains(&keyword) => Err(at.fault(format!("a property key expected, not `{word}`"))),
            _ => self.comparison(word),
        }
    }

    fn comparison(&mut self, key: String) -> Result<Filter, Fault> {
        let (at, operator) = match self.next()? {
            (at, Token::Word(operator)) => (at, operator),
            (at, token) => return Err(at.fault(format!("{OPERATORS} expected, not {token}"))),
        };
        match operator.to_ascii_lowercase().as_str() {
            "is" | "eq" => Ok(Filter::In(key, BTreeSet::from([self.text()?.1]))),
            // True of a session without the property as well: it is `not` of `is`.
            "ne" => Ok(Filter::Not(Box::new(Filter::In(key, BTreeSet::from([self.text()?.1]))))),
            "in" => Ok(Filter::In(key, self.list()?)),
            "matches" => {
                let (at, pattern) = self.text()?;
                let pattern = Pattern::new(&pattern, &mut self.limits).map_err(|error| at.fault(error))?;
                Ok(Filter::Matches(key, Box::new(pattern)))
            }
            _ => Err(at.fault(format!("{OPERATORS} expected, not `{operator}`"))),
        }
    }

    /// Quoted values, separated by commas or white space, bare or in brackets or braces.
    fn list(&mut self) -> Result<BTreeSet<String>, Fault> {
        let close = match self.peek()? {
            Token::Punctuation('[') => Some(']'),
            Token::Punctuation('{') => Some('}'),
            _ => None,
        };
        if close.is_some() {
            self.next()?;
        }
        let mut items = BTreeSet::from([self.text()?.1]);
        loop {
            match self.peek()? {
                Token::Punctuation(',') => {
                    self.next()?;
                    items.insert(self.text()?.1);
                }
                Token::Text(_) => {
                    items.insert(self.text()?.1);
                }
                _ => break,
            }
        }
        if let Some(close) = close {
            self.expect(close)?;
        }
        Ok(items)
    }

    fn text(&mut self) -> Result<(Position, String), Fault> {
        match self.next()? {
            (at, Token::Text(text)) => Ok((at, text)),
            (at, token) => Err(at.fault(format!("a quoted value expected, not {token}"))),
        }
    }

    fn expect(&mut self, character: char) -> Result<(), Fault> {
        match self.next()? {
            (_, Token::Punctuation(other)) if other == character => Ok(()),
            (at, token) => Err(at.fault(format!("`{character}` expected, not {token}"))),
        }
    }

    fn take_keyword(&mut self, keyword: &str) -> Result<bool, Fault> {
        let found = matches!(self.peek()?, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        if found {
            self.next()?;
        }
        Ok(found)
    }

    fn peek(&mut self) -> Result<Token, Fault> {
        let (rest, at) = (self.rest, self.at);
        let token = self.next();
        (self.rest, self.at) = (rest, at);
        token.map(|(_, token)| token)
    }

    fn next(&mut self) -> Result<(Position, Token), Fault> {
        while matches!(self.rest.chars().next(), Some(' ' | '\t' | '\r' | '\n')) {
            self.advance();
        }
        let at = self.at;
        let token = match self.rest.chars().next() {
            None => Token::End,
            Some(quote @ ('"' | '\'')) => Token::Text(self.quoted(at, quote)?),
            Some(character) if !is_word(character) => {
                self.advance();
                Token::Punctuation(character)
            }
            Some(_) => {
                let end = self.rest.find(|character| !is_word(character)).unwrap_or(self.rest.len());
                let (word, _) = self.rest.split_at(end);
                let word = word.to_owned();
                for _ in word.chars() {
                    self.advance();
                }
                Token::Word(word)
            }
        };
        Ok((at, token))
    }

    fn quoted(&mut self, start: Position, quote: char) -> Result<String, Fault> {
        self.advance();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.advance() {
                None => return Err(start.fault("a quoted value without an end")),
                Some(character) if character == quote => return Ok(text),
                Some('\\') => text.push(self.escaped().ok_or_else(|| at.fault("no such escape"))?),
                Some(character) => text.push(character),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.advance()? {
            literal @ ('"' | '\'' | '\\') => literal,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => match self.code_unit()? {
                // The two halves of a character beyond 16 bits.
                high @ 0xd800..0xdc00 => {
                    (self.advance()? == '\\' && self.advance()? == 'u').then_some(())?;
                    let low = self.code_unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)?
                }
                code => char::from_u32(code)?,
            },
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn code_unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |code, _| Some(code * 16 + self.advance()?.to_digit(16)?))
    }

    fn advance(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        if character == '\n' {
            self.at = Position { line: self.at.line + 1, column: 0 };
        } else {
            self.at.column += 1;
        }
        Some(character)
    }
}

const OPERATORS: &str = "`is`, `eq`, `ne`, `in` or `matches`";

fn is_word(character: char) -> bool {
    !matches!(character, ' ' | '\t' | '\r' | '\n' | '"' | '\'' | '(' | ')' | '[' | ']' | '{' | '}' | ',')
}

fn one_or(mut filters: Vec<Filter>, several: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    if filters.len() == 1 { filters.remove(0) } else { several(filters) }
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
    fn the_17_examples_that_do_not_parse_say_where() {
        let cases = [
            ("", 0),
            ("$Principal", 10),
            ("$Principal is alice", 14),
            ("$Principal is 'alice", 14),
            ("$Principal equals 'alice'", 11),
            ("$Principal is 'a' and", 21),
            ("($Principal is 'a'", 18),
            ("$Principal is 'a')", 17),
            ("$Principal is 'a' $Country is 'FR'", 18),
            ("hasRoles", 8),
            ("$Country in []", 13),
            ("$Country in ['FR'", 17),
            ("$StartTime exists", 11),
            ("Tier is 2", 8),
            (r#"Note is "\q""#, 9),
            ("$Principal matches '('", 19),
            ("not", 3),
        ];
        assert_eq!(cases.len(), 17);
        for (text, column) in cases {
            let fault = Filter::parse(text).expect_err(text);
            assert_eq!((fault.line, fault.column), (1, column), "{text}: {}", fault.message);
        }
        let fault = Filter::parse("all\n  and ?").expect_err("no clause");
        assert_eq!((fault.line, fault.column), (2, 7));
    }

    #[test]
    fn filters_from_strangers_are_limited_and_answered_at_once() {
        let long = "a".repeat(1 << 20);
        let deep = "(".repeat(10_000) + "all" + &")".repeat(10_000);
        let not = "not ".repeat(4000) + "all";
        let costly = [r#"x matches "[a-z]{9000}""#; 500].join(" or ");
        assert!(Filter::parse(&costly).is_err());
        let wide = "all or ".repeat(2000) + "all";
        for bad in [
            long,
            "(".repeat(16_000),
            deep,
            not,
            r"a matches '(?=x)'".into(),
            r"a matches '(x)\\1'".into(),
            r"a matches '(((x{900}){900}){900})'".into(),
        ] {
            assert!(Filter::parse(&bad).is_err(), "{}", &bad[..20.min(bad.len())]);
        }
        assert!(Filter::parse(&wide).is_ok());
        let nested = |depth: usize| "not ".repeat(depth) + "all";
        assert!(Filter::parse(&nested(MAX_DEPTH)).is_ok());
        assert!(Filter::parse(&nested(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn the_work_for_one_filter_is_limited() {
        let filter = Filter::parse(&("has z or ".repeat(99) + "has z")).expect("a filter");
        let session = session(&[("name", "ada")]);
        let mut work = Work(1000);
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
