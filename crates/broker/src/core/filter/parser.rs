//! Parses session filters: tokens, precedence, and where and why a text is no filter.

use std::collections::BTreeSet;
use std::fmt;

use super::Filter;
use super::pattern::{Pattern, PatternLimits};

/// Longest filter, in characters.
pub const MAX_LENGTH: usize = 16_384;
/// Most `not`s and parentheses that may be nested in each other.
pub const MAX_DEPTH: usize = 64;

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

/// Reads a filter: that, or the first thing that is wrong with it; and the work that was done for it.
pub(super) fn parse(text: &str) -> (Result<Filter, Fault>, usize) {
    let mut parser = Parser { rest: text, at: Position { line: 1, column: 0 }, depth: 0, limits: PatternLimits::new() };
    if text.chars().nth(MAX_LENGTH).is_some() {
        return (Err(parser.at.fault(format!("the filter is longer than {MAX_LENGTH} characters"))), MAX_LENGTH);
    }
    let filter = whole(&mut parser);
    (filter, text.len() + parser.limits.work())
}

fn whole(parser: &mut Parser<'_>) -> Result<Filter, Fault> {
    let filter = parser.or()?;
    match parser.next()? {
        (_, Token::End) => Ok(filter),
        (at, Token::Punctuation(')')) => Err(at.fault("there is no ( for this )")),
        (at, token) => Err(at.fault(format!("`and`, `or` or the end expected, not {token}"))),
    }
}

/// Reads from the front of a filter, token by token; so the first error is the one that is reported.
struct Parser<'a> {
    rest: &'a str,
    at: Position,
    /// Number of `not`s and parentheses around.
    depth: usize,
    /// Of regular expressions.
    limits: PatternLimits,
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
}
