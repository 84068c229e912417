//! Proposed session properties as text: JSON in a query, a list in a header (section 2.6).

use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};

use crate::text::{hexadecimal_digit, push};

/// Both textual forms of section 2.6.
pub fn properties_from_text(text: &str) -> Option<Vec<(String, String)>> {
    match text.trim_start().as_bytes().first() {
        None => Some(Vec::new()),
        Some(b'{') => properties_from_json(text),
        Some(_) => properties_from_list(text),
    }
}

/// Keeps the order and, as the official client does, whatever comes twice; the later value counts.
fn properties_from_json(text: &str) -> Option<Vec<(String, String)>> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let pairs = deserializer.deserialize_map(Pairs).ok()?;
    deserializer.end().ok()?;
    Some(pairs)
}

pub fn properties_to_json(properties: &[(String, String)]) -> String {
    let mut text = String::from("{");
    for (key, value) in properties {
        if text.len() > 1 {
            push(&mut text, ',');
        }
        json_string(key, &mut text);
        push(&mut text, ':');
        json_string(value, &mut text);
    }
    push(&mut text, '}');
    text
}

fn json_string(value: &str, out: &mut String) {
    push(out, '"');
    for character in value.chars() {
        let mut character = character;
        if character < ' ' {
            out.push_str(if character < '\u{10}' { "\\u000" } else { "\\u001" });
            character = hexadecimal_digit(u32::from(character) & 0xf);
        } else if matches!(character, '"' | '\\') {
            push(out, '\\');
        }
        push(out, character);
    }
    push(out, '"');
}

/// Quoted strings between commas, alternating key and value.
fn properties_from_list(text: &str) -> Option<Vec<(String, String)>> {
    let mut characters = text.chars().peekable();
    let mut strings = Vec::new();
    loop {
        if characters.next()? != '"' {
            return None;
        }
        let mut string = String::new();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => string.push(match characters.next()? {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    literal @ ('\\' | '"' | '\'') => literal,
                    _ => return None,
                }),
                character => string.push(character),
            }
        }
        strings.push(string);
        match characters.next() {
            Some(',') => {}
            Some(_) => return None,
            None => break,
        }
    }
    let mut strings = strings.into_iter();
    let mut pairs = Vec::new();
    while let Some(key) = strings.next() {
        pairs.push((key, strings.next()?));
    }
    Some(pairs)
}

pub fn properties_to_list(properties: &[(String, String)]) -> String {
    let mut text = String::new();
    for string in properties.iter().flat_map(|(key, value)| [key, value]) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push('"');
        for character in string.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}
