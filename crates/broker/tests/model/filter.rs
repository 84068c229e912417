//! Session filters as the model understands them: made as a tree, written as text, evaluated against plain properties
//! (rules 3).

use std::collections::BTreeMap;
use std::fmt;

use crate::random::Random;

/// A session filter and what it means.
#[derive(Clone)]
pub struct Filter {
    pub text: String,
    pub meaning: Meaning,
}

/// The meaning of a text as a filter.
#[derive(Clone)]
pub enum Meaning {
    Tree(Tree),
    /// It does not parse; line and column of the first fault (F-3).
    Fault(i32, i32),
}

/// A filter that parses.
#[derive(Clone)]
pub enum Tree {
    All,
    Is(String, String),
    Ne(String, String),
    In(String, Vec<String>),
    /// The whole value matches the regular expression, which the function stands for.
    Matches(String, &'static str, fn(&str) -> bool),
    Has(String),
    HasRoles(Vec<String>),
    Not(Box<Tree>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Tree {
    /// Sections 3.1 and 3.4.
    pub fn matches(&self, properties: &BTreeMap<String, String>) -> bool {
        match self {
            Self::All => true,
            Self::Is(key, value) => properties.get(key) == Some(value),
            // True if the property is absent.
            Self::Ne(key, value) => properties.get(key) != Some(value),
            Self::In(key, values) => properties.get(key).is_some_and(|value| values.contains(value)),
            Self::Matches(key, _, matches) => properties.get(key).is_some_and(|value| matches(value)),
            Self::Has(key) => properties.contains_key(key),
            // All of them.
            Self::HasRoles(roles) => roles.iter().all(|role| properties["$Roles"].contains(&format!("\"{role}\""))),
            Self::Not(tree) => !tree.matches(properties),
            Self::And(trees) => trees.iter().all(|tree| tree.matches(properties)),
            Self::Or(trees) => trees.iter().any(|tree| tree.matches(properties)),
        }
    }

    /// How tightly its operator binds (rules 3.2).
    fn precedence(&self) -> u8 {
        match self {
            Self::Or(_) => 0,
            Self::And(_) => 1,
            _ => 2,
        }
    }

    /// As text, with no more parentheses than needed, now and then.
    fn write(&self, random: &mut Random, at_least: u8, out: &mut String) {
        let parentheses = self.precedence() < at_least || random.chance(10);
        if parentheses {
            out.push('(');
        }
        match self {
            Self::All => out.push_str(&random.any_case("all")),
            Self::Is(key, value) => {
                let operator = random.text(&["is", "eq"]);
                write_clause(random, key, operator, value, out);
            }
            Self::Ne(key, value) => write_clause(random, key, "ne", value, out),
            Self::Matches(key, regex, _) => write_clause(random, key, "matches", regex, out),
            Self::In(key, values) => {
                out.push_str(key);
                write_word(random, "in", out);
                write_list(random, values, out);
            }
            Self::Has(key) => {
                write_word(random, "has", out);
                out.push_str(key);
            }
            Self::HasRoles(roles) => {
                write_word(random, "hasRoles", out);
                write_list(random, roles, out);
            }
            Self::Not(tree) => {
                write_word(random, "not", out);
                tree.write(random, 2, out);
            }
            Self::And(trees) => write_joined(random, trees, "and", 2, out),
            Self::Or(trees) => write_joined(random, trees, "or", 1, out),
        }
        if parentheses {
            out.push(')');
        }
    }
}

fn write_clause(random: &mut Random, key: &str, operator: &str, value: &str, out: &mut String) {
    out.push_str(key);
    write_word(random, operator, out);
    write_quoted(random, value, out);
}

fn write_word(random: &mut Random, word: &str, out: &mut String) {
    out.push_str(random.text(&[" ", "\t", "\r\n ", "  "]));
    out.push_str(&random.any_case(word));
    out.push_str(random.text(&[" ", " ", "\n"]));
}

fn write_quoted(random: &mut Random, value: &str, out: &mut String) {
    let quote = *random.pick(&['"', '\'']);
    out.push(quote);
    for character in value.chars() {
        // The other quote may be escaped and need not.
        if character == '\\' || character == quote || (['"', '\''].contains(&character) && random.chance(30)) {
            out.push('\\');
        }
        out.push(character);
    }
    out.push(quote);
}

fn write_list(random: &mut Random, values: &[String], out: &mut String) {
    let (open, close) = *random.pick(&[("", ""), ("[", "]"), ("{", "}")]);
    out.push_str(open);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push_str(random.text(&[",", " ", ", ", " , "]));
        }
        write_quoted(random, value, out);
    }
    out.push_str(close);
}

fn write_joined(random: &mut Random, trees: &[Tree], word: &str, at_least: u8, out: &mut String) {
    for (index, tree) in trees.iter().enumerate() {
        if index > 0 {
            write_word(random, word, out);
        }
        tree.write(random, at_least, out);
    }
}

/// A filter that may name the sessions in `ids`.
pub fn any(random: &mut Random, ids: &[String]) -> Filter {
    if random.chance(8) {
        let (text, line, column) = *random.pick(&FAULTY);
        return Filter { text: text.into(), meaning: Meaning::Fault(line, column) };
    }
    let tree = any_tree(random, ids, 3);
    let mut text = String::new();
    tree.write(random, 0, &mut text);
    Filter { text, meaning: Meaning::Tree(tree) }
}

fn any_tree(random: &mut Random, ids: &[String], depth: usize) -> Tree {
    if depth > 0 && random.chance(40) {
        let more: Vec<_> = (0..2 + random.below(2)).map(|_| any_tree(random, ids, depth - 1)).collect();
        return match random.below(3) {
            0 => Tree::Not(Box::new(any_tree(random, ids, depth - 1))),
            1 => Tree::And(more),
            _ => Tree::Or(more),
        };
    }
    let (key, mut values) = match random.below(VALUES.len() + 1) {
        0 => ("$SessionId", ids.to_vec()),
        index => (VALUES[index - 1].0, VALUES[index - 1].1.iter().map(|value| (*value).to_owned()).collect()),
    };
    let key = key.to_owned();
    let roles = ["CLIENT", "CLIENT_CONTROL", "ADMINISTRATOR", "client"];
    match random.below(10) {
        0 | 1 => Tree::All,
        2 | 3 => Tree::Is(key, random.pick(&values).clone()),
        4 => Tree::Ne(key, random.pick(&values).clone()),
        5 | 6 => {
            values.retain(|_| random.chance(50));
            values.push(values.first().cloned().unwrap_or_default());
            Tree::In(key, values)
        }
        7 => {
            let (regex, matches) = *random.pick(REGEXES);
            Tree::Matches(key, regex, matches)
        }
        8 => Tree::Has(key),
        _ => Tree::HasRoles((0..=random.below(2)).map(|_| (*random.pick(&roles)).to_owned()).collect()),
    }
}

/// Keys that filters ask for, and values that the sessions of the test may have there.
const VALUES: [(&str, &[&str]); 9] = [
    ("team", &["red", "green", "Red", "it's \"x\"\\y", ""]),
    ("tier", &["1", "2"]),
    ("absent", &["", "x"]),
    ("$Principal", &["", "admin", "client", "Admin"]),
    ("$Principal", &["", "control", "operator", "nobody"]),
    ("$Roles", &["\"CLIENT\",\"CLIENT_CONTROL\"", "\"CLIENT\"", "\"ADMINISTRATOR\""]),
    ("$Country", &["FR", "fr", ""]),
    ("$ClientType", &["JAVASCRIPT_BROWSER", "PYTHON", "OTHER"]),
    ("$principal", &["", "admin"]),
];

type Regex = (&'static str, fn(&str) -> bool);

const REGEXES: &[Regex] = &[
    (".*", |_| true),
    ("re", |value| value == "re"),
    ("re.*", |value| value.starts_with("re")),
    ("red|green", |value| ["red", "green"].contains(&value)),
    ("[a-z]+", |value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_lowercase())),
    (".?", |value| value.chars().count() <= 1),
    (".*\"x\".*", |value| value.contains("\"x\"")),
];

/// Texts that are no filters, and where (rules 3.5, rows 46 to 62, and some on several lines).
const FAULTY: [(&str, i32, i32); 16] = [
    ("", 1, 0),
    ("$Principal", 1, 10),
    ("$Principal is alice", 1, 14),
    ("$Principal is 'alice", 1, 14),
    ("$Principal equals 'alice'", 1, 11),
    ("$Principal is 'a' and", 1, 21),
    ("($Principal is 'a'", 1, 18),
    ("$Principal is 'a')", 1, 17),
    ("$Principal is 'a' $Country is 'FR'", 1, 18),
    ("hasRoles", 1, 8),
    ("$Country in []", 1, 13),
    ("Tier is 2", 1, 8),
    ("Note is \"\\q\"", 1, 9),
    ("$Principal matches '('", 1, 19),
    ("all\nand", 2, 3),
    ("all or\n not\n  or all", 3, 2),
];
