//! Texts for people, put together without `format!`: its machinery would be a twentieth of what browsers download.

use std::borrow::Cow;

/// Something that a text is made of.
pub trait Piece {
    /// Puts it at the end of `text`.
    fn append_to(&self, text: &mut String);
}

/// Puts texts and numbers together: `text!["no session within ", 10_000, " ms"]`.
#[macro_export]
macro_rules! text {
    ($($piece:expr),+ $(,)?) => {{
        let mut text = String::new();
        $($crate::text::Piece::append_to(&$piece, &mut text);)+
        text
    }};
}

impl Piece for str {
    fn append_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl Piece for String {
    fn append_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl Piece for Cow<'_, str> {
    fn append_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl<T: Piece + ?Sized> Piece for &T {
    fn append_to(&self, text: &mut String) {
        (**self).append_to(text);
    }
}

impl Piece for i64 {
    fn append_to(&self, text: &mut String) {
        if *self < 0 {
            push(text, '-');
        }
        self.unsigned_abs().append_to(text);
    }
}

impl Piece for u64 {
    fn append_to(&self, text: &mut String) {
        let (rest, digit) = (*self / 10, (*self % 10) as u8);
        if rest > 0 {
            rest.append_to(text);
        }
        push(text, char::from(b'0' + digit));
    }
}

macro_rules! numbers {
    ($($number:ty as $wide:ty),*) => {
        $(impl Piece for $number {
            fn append_to(&self, text: &mut String) {
                (*self as $wide).append_to(text);
            }
        })*
    };
}

numbers! { u8 as u64, u16 as u64, u32 as u64, usize as u64, i32 as i64 }

/// Appends a character. Not at each place where one is: that would be more code than all around it.
#[inline(never)]
pub(crate) fn push(text: &mut String, character: char) {
    text.push(character);
}

/// Appends the sixteen hexadecimal digits of a number.
pub(crate) fn append_hexadecimal(number: u64, text: &mut String) {
    for shift in (0..16).rev() {
        push(text, hexadecimal_digit((number >> (shift * 4)) as u32 & 0xf));
    }
}

/// A digit of less than 16.
pub(crate) fn hexadecimal_digit(digit: u32) -> char {
    char::from_digit(digit, 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_format_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, u64::MAX / 2, u64::MAX] {
            assert_eq!(text![number], format!("{number}"));
            let mut digits = String::new();
            append_hexadecimal(number, &mut digits);
            assert_eq!(digits, format!("{number:016x}"));
        }
        for number in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(text!["<", number, ">"], format!("<{number}>"));
        }
    }
}
