//! Kinds of values: how each is written, and what makes one good.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use antiphon_protocol::path;
use bytesize::ByteSize;
use tracing_subscriber::filter::LevelFilter;

use super::place::{Place, beside, quoted};
use crate::core::timeouts::PathTimeouts;

/// How a value stands in a TOML file. On the command line and in the environment everything is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Number,
    Text,
    /// A size: text with a unit, or a number of bytes.
    TextOrNumber,
    Texts,
    /// Tables with a `path` and a `timeout`; on the command line `PATH=TIMEOUT`.
    PathTimeouts,
}

impl Form {
    pub fn is_list(self) -> bool {
        matches!(self, Self::Texts | Self::PathTimeouts)
    }
}

/// One text that was given, and where.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub text: String,
    pub place: Place,
}

/// What is wrong with one of the texts: its number, and what to write instead.
pub(super) type Wrong = (usize, String);

/// What a value looks like.
pub(super) trait Describe {
    fn form(&self) -> Form;
    /// What stands for it in `--help`.
    fn name(&self) -> &'static str;
}

/// From texts to a value and back.
pub(super) trait Kind<T>: Describe {
    fn read(&self, items: &[Item]) -> Result<T, Wrong>;
    /// As it could have been given; nothing if it was not and there is no default.
    fn show(&self, value: &T) -> Vec<String>;
}

/// The same for what is always one text.
pub(super) trait Single<T>: Describe {
    fn parse(&self, text: &str, place: &Place) -> Result<T, String>;
    fn write(&self, value: &T) -> String;
}

impl<T, K: Single<T>> Kind<T> for K {
    fn read(&self, items: &[Item]) -> Result<T, Wrong> {
        let [item] = items else { return Err((0, "give it once".into())) };
        self.parse(&item.text, &item.place).map_err(|text| (0, text))
    }

    fn show(&self, value: &T) -> Vec<String> {
        vec![self.write(value)]
    }
}

/// What may be absent.
pub(super) struct Maybe<K>(pub K);

impl<K: Describe> Describe for Maybe<K> {
    fn form(&self) -> Form {
        self.0.form()
    }
    fn name(&self) -> &'static str {
        self.0.name()
    }
}

impl<T, K: Single<T>> Kind<Option<T>> for Maybe<K> {
    fn read(&self, items: &[Item]) -> Result<Option<T>, Wrong> {
        self.0.read(items).map(Some)
    }
    fn show(&self, value: &Option<T>) -> Vec<String> {
        value.iter().map(|value| self.0.write(value)).collect()
    }
}

/// A list, in which each stands once.
pub(super) struct Many<K>(pub K);

impl<K: Describe> Describe for Many<K> {
    fn form(&self) -> Form {
        Form::Texts
    }
    fn name(&self) -> &'static str {
        self.0.name()
    }
}

impl<T: PartialEq, K: Single<T>> Kind<Vec<T>> for Many<K> {
    fn read(&self, items: &[Item]) -> Result<Vec<T>, Wrong> {
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let value = self.0.parse(&item.text, &item.place).map_err(|text| (index, text))?;
            if values.contains(&value) {
                return Err((index, format!("{} is given twice", quoted(&item.text))));
            }
            values.push(value);
        }
        Ok(values)
    }
    fn show(&self, values: &Vec<T>) -> Vec<String> {
        values.iter().map(|value| self.0.write(value)).collect()
    }
}

/// A list that is not empty.
pub(super) struct OneOrMore<K>(pub K);

impl<K: Describe> Describe for OneOrMore<K> {
    fn form(&self) -> Form {
        Form::Texts
    }
    fn name(&self) -> &'static str {
        self.0.name()
    }
}

impl<T: PartialEq, K: Single<T> + Copy> Kind<Vec<T>> for OneOrMore<K> {
    fn read(&self, items: &[Item]) -> Result<Vec<T>, Wrong> {
        if items.is_empty() {
            return Err((0, format!("the list is empty; write a list of {}", self.name())));
        }
        Many(self.0).read(items)
    }
    fn show(&self, values: &Vec<T>) -> Vec<String> {
        Many(self.0).show(values)
    }
}

macro_rules! describe {
    ($($kind:ident $form:ident $name:literal)*) => {$(
        impl Describe for $kind {
            fn form(&self) -> Form {
                Form::$form
            }
            fn name(&self) -> &'static str {
                $name
            }
        }
    )*};
}
pub(super) use describe;

describe! {
    Count Number "N"
    Size TextOrNumber "SIZE"
    Time Text "DURATION"
    File Text "FILE"
    Folder Text "DIR"
    Level Text "LEVEL"
    Words Text "WORD"
    Name Text "TEXT"
    Path Text "PATH"
    Timeouts PathTimeouts "PATH=DURATION"
}

/// A whole number.
pub(super) struct Count(pub RangeInclusive<u64>);

impl<T: TryFrom<u64> + TryInto<u64> + Copy> Single<T> for Count {
    fn parse(&self, text: &str, _: &Place) -> Result<T, String> {
        let number = text.parse().ok().filter(|number| self.0.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            format!("{} will not do; write a number from {} to {}", quoted(text), self.0.start(), self.0.end())
        })
    }
    fn write(&self, value: &T) -> String {
        let number: u64 = (*value).try_into().unwrap_or(u64::MAX);
        number.to_string()
    }
}

/// A number of bytes.
pub(super) struct Size(pub RangeInclusive<u64>);

impl<T: TryFrom<u64> + TryInto<u64> + Copy> Single<T> for Size {
    fn parse(&self, text: &str, _: &Place) -> Result<T, String> {
        let size = text.parse::<ByteSize>().ok().map(|size| size.as_u64()).filter(|size| self.0.contains(size));
        size.and_then(|size| T::try_from(size).ok()).ok_or_else(|| {
            let [least, most] = [self.0.start(), self.0.end()].map(|bytes| size_text(*bytes));
            format!("{} will not do; write a size from {least} to {most}", quoted(text))
        })
    }
    fn write(&self, value: &T) -> String {
        size_text((*value).try_into().unwrap_or(u64::MAX))
    }
}

/// In the largest unit in which it is a whole number.
fn size_text(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(size, name)| format!("{}{name}", bytes / size))
}

/// A duration; some may be zero, which switches something off.
pub(super) struct Time {
    pub least: Duration,
    pub or_zero: bool,
}

impl Time {
    pub const fn at_least(milliseconds: u64) -> Self {
        Self { least: Duration::from_millis(milliseconds), or_zero: false }
    }
    pub const fn zero_or_at_least(milliseconds: u64) -> Self {
        Self { or_zero: true, ..Self::at_least(milliseconds) }
    }
}

/// No duration is longer than a year: what is meant to be for ever is a mistake more often than not.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Single<Duration> for Time {
    fn parse(&self, text: &str, _: &Place) -> Result<Duration, String> {
        let wrong = |what: &str| format!("{} will not do; {what}", quoted(text));
        let time = humantime::parse_duration(text).map_err(|_| wrong("write a duration such as 500ms, 60s or 5m"))?;
        match (self.or_zero, time >= self.least || (self.or_zero && time.is_zero())) {
            _ if time > LONGEST => Err(wrong("it must be at most 365days")),
            (_, true) => Ok(time),
            (true, false) => Err(wrong(&format!("it must be 0s, or at least {}", time_text(self.least)))),
            (false, false) => Err(wrong(&format!("it must be at least {}", time_text(self.least)))),
        }
    }
    fn write(&self, value: &Duration) -> String {
        time_text(*value)
    }
}

/// As few as possible of the units that everybody reads at once.
fn time_text(time: Duration) -> String {
    match u64::try_from(time.as_millis()).unwrap_or(u64::MAX) {
        milliseconds if milliseconds.is_multiple_of(1000) => format!("{}s", milliseconds / 1000),
        milliseconds => format!("{milliseconds}ms"),
    }
}

/// A file; that it can be read is looked at when all settings are known. One that is named in the configuration file is
/// beside it.
pub(super) struct File;

impl Single<PathBuf> for File {
    fn parse(&self, text: &str, place: &Place) -> Result<PathBuf, String> {
        Ok(beside(place, text))
    }
    fn write(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// A folder, likewise.
pub(super) struct Folder;

impl Single<PathBuf> for Folder {
    fn parse(&self, text: &str, place: &Place) -> Result<PathBuf, String> {
        Ok(beside(place, text))
    }
    fn write(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// How much is logged.
pub(super) struct Level;

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

impl Single<LevelFilter> for Level {
    fn parse(&self, text: &str, _: &Place) -> Result<LevelFilter, String> {
        let level = LEVELS.iter().find(|(name, _)| *name == text);
        level.map(|(_, level)| *level).ok_or_else(|| one_of(text, LEVELS.iter().map(|(name, _)| *name)))
    }
    fn write(&self, value: &LevelFilter) -> String {
        value.to_string()
    }
}

/// One of a few words, by the value that each stands for.
pub(super) struct Words;

/// What [`Words`] are about.
pub(super) trait Word: Copy + PartialEq + 'static {
    const ALL: &'static [(&'static str, Self)];
}

impl<T: Word> Single<T> for Words {
    fn parse(&self, text: &str, _: &Place) -> Result<T, String> {
        let word = T::ALL.iter().find(|(name, _)| *name == text);
        word.map(|(_, value)| *value).ok_or_else(|| one_of(text, T::ALL.iter().map(|(name, _)| *name)))
    }
    fn write(&self, value: &T) -> String {
        T::ALL.iter().find(|(_, word)| word == value).map_or("", |(name, _)| name).to_owned()
    }
}

fn one_of<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<_> = words.map(|word| format!("\"{word}\"")).collect();
    let (last, rest) = words.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
    format!("{} will not do; write {} or {last}", quoted(text), rest.join(", "))
}

/// Any text, but not none.
pub(super) struct Name;

impl Single<String> for Name {
    fn parse(&self, text: &str, _: &Place) -> Result<String, String> {
        if text.is_empty() { Err("it is empty; write a text, or leave the key out".into()) } else { Ok(text.into()) }
    }
    fn write(&self, value: &String) -> String {
        value.clone()
    }
}

/// A message path, in normal form from here on.
pub(super) struct Path;

impl Single<String> for Path {
    fn parse(&self, text: &str, _: &Place) -> Result<String, String> {
        let path =
            path::normalise(text).map_err(|error| format!("{}: {error}; write a path such as a/b", quoted(text)))?;
        Ok(path.to_owned())
    }
    fn write(&self, value: &String) -> String {
        value.clone()
    }
}

/// How long requests to some paths may take.
pub(super) struct Timeouts;

impl Kind<PathTimeouts> for Timeouts {
    fn read(&self, items: &[Item]) -> Result<PathTimeouts, Wrong> {
        let mut timeouts = PathTimeouts::default();
        for (index, Item { text, place }) in items.iter().enumerate() {
            // A path may have a `=` in it, a duration has none.
            let (path, timeout) = text.rsplit_once('=').ok_or_else(|| {
                (index, format!("{} will not do; write a path and a duration, such as orders/slow=5m", quoted(text)))
            })?;
            let timeout = REQUEST_TIMEOUT.parse(timeout, place).map_err(|text| (index, text))?;
            match timeouts.set(path, timeout) {
                Ok(None) => {}
                Ok(Some(_)) => return Err((index, format!("{} is given twice", quoted(path)))),
                Err(error) => return Err((index, format!("{}: {error}; write a path such as a/b", quoted(path)))),
            }
        }
        Ok(timeouts)
    }
    fn show(&self, value: &PathTimeouts) -> Vec<String> {
        value.iter().map(|(path, timeout)| format!("{path}={}", time_text(timeout))).collect()
    }
}

/// How long a recipient may take.
pub(super) const REQUEST_TIMEOUT: Time = Time::at_least(1);
