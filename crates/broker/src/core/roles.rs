//! Roles as the property `$Roles` has them.

use std::collections::BTreeSet;

/// The roles in the value of `$Roles`: what is in double quotes, with `\` before `"`, `'` and `\` (rules P-3).
#[must_use]
pub fn parse_roles(text: &str) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    let mut characters = text.chars();
    while characters.any(|character| character == '"') {
        let mut role = String::new();
        loop {
            match characters.next() {
                Some('\\') => role.extend(characters.next()),
                Some('"') => break,
                Some(character) => role.push(character),
                None => return roles,
            }
        }
        roles.insert(role);
    }
    roles
}

/// The value of `$Roles`: unique and sorted, as they are in a set.
pub(super) fn roles_to_text(roles: &BTreeSet<String>) -> String {
    let mut text = String::new();
    for role in roles {
        text.push_str(if text.is_empty() { "\"" } else { ",\"" });
        for character in role.chars() {
            if matches!(character, '"' | '\'' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_sorted_escaped_and_read_back() {
        let roles = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect::<BTreeSet<_>>();
        let those = roles(&["b", r#"it's "x"\y"#, "a", "b"]);
        let text = roles_to_text(&those);
        assert_eq!(text, r#""a","b","it\'s \"x\"\\y""#);
        assert_eq!(parse_roles(&text), those);
        assert_eq!(parse_roles(r#"x "a" ; "b" "unbalanced"#), roles(&["a", "b"]));
    }
}
