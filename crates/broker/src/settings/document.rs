//! A configuration file: TOML, of which each key and each value knows its line.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::place::{Fault, Place, nearest, quoted};

/// A file that has been read.
pub(super) struct Document {
    file: Arc<Path>,
    text: String,
    /// Where each line ends, but for the last one.
    line_ends: Vec<usize>,
}

impl Document {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self, Fault> {
        // More than anybody writes by hand, and little enough to be read into memory.
        const MAX_FILE_BYTES: u64 = 16 << 20;
        let cannot = |error: std::io::Error| {
            Fault::of_file(file, format!("cannot read it: {error}; name a configuration file that can be read"))
        };
        let found = std::fs::metadata(file).map_err(cannot)?;
        if found.is_file() && found.len() > MAX_FILE_BYTES {
            return Err(Fault::of_file(file, "it has more than 16 MiB; name a configuration file"));
        }
        Self::new(file, std::fs::read(file).map_err(cannot)?)
    }

    /// What would be read from a file.
    pub fn new(file: &Path, bytes: Vec<u8>) -> Result<Self, Fault> {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let line_ends = ends.map(|(at, _)| at).collect();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { file: file.into(), text, line_ends }),
            Err(error) => {
                let line = line_of(&line_ends, error.utf8_error().valid_up_to());
                let place = Place::File { file: file.into(), line };
                Err(Fault { place, ..Fault::of_file(file, "it is not UTF-8; save it as UTF-8") })
            }
        }
    }

    /// As it was named.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What stands in it.
    pub fn parse(&self) -> Result<Spanned<DeTable<'_>>, Fault> {
        DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let wrong = error.message().lines().next().unwrap_or("it is not TOML");
            let text = format!("{wrong}; write TOML, such as log = \"info\" or [limits]");
            Fault { place: self.place(at), key: self.key_at(at), text }
        })
    }

    pub fn root<'d>(&'d self, table: &'d Spanned<DeTable<'d>>) -> Table<'d> {
        Table {
            document: self,
            key: String::new(),
            at: table.span(),
            items: table.get_ref(),
            asked: RefCell::default(),
        }
    }

    /// The line at a place in the text.
    fn place(&self, at: usize) -> Place {
        Place::File { file: self.file.clone(), line: line_of(&self.line_ends, at) }
    }

    /// The key of the line in which something is wrong.
    fn key_at(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = self.text[before.rfind('\n').map_or(0, |newline| newline + 1)..].lines().next().unwrap_or_default();
        let key = line.split(['=', '#']).next().unwrap_or_default().trim().trim_matches(['[', ']']);
        let is_key = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-.\"".contains(c));
        if is_key { key.to_owned() } else { String::new() }
    }
}

/// A table. Whoever reads it asks for each key that there may be, and then calls [`Table::finish`].
pub(super) struct Table<'d> {
    document: &'d Document,
    key: String,
    at: Range<usize>,
    items: &'d DeTable<'d>,
    asked: RefCell<Vec<&'static str>>,
}

/// A value, with its key.
pub(super) struct Node<'d> {
    document: &'d Document,
    /// As it would be written in one piece, such as `users[2].name`.
    pub key: String,
    at: Range<usize>,
    value: &'d DeValue<'d>,
}

impl<'d> Table<'d> {
    /// The value of a key.
    pub fn get(&self, key: &'static str) -> Option<Node<'d>> {
        self.asked.borrow_mut().push(key);
        let (name, value) = self.items.get_key_value(key)?;
        Some(self.node(name, value))
    }

    /// The same, of a key without which the table means nothing; `example` is what could stand there.
    pub fn require(&self, key: &'static str, example: &str) -> Result<Node<'d>, Fault> {
        self.get(key).ok_or_else(|| {
            let place = self.document.place(self.at.start);
            Fault { place, key: join(&self.key, key), text: format!("it is missing; write {key} = {example}") }
        })
    }

    /// The table of a key.
    pub fn table(&self, key: &'static str) -> Result<Option<Self>, Fault> {
        self.get(key).map(|node| node.table(&format!("[{}]", join(&self.key, key)))).transpose()
    }

    /// The tables of a key: `[[key]]`, each with the key that it is told by.
    pub fn tables(&self, key: &'static str) -> Result<Vec<Self>, Fault> {
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        let wanted = format!("[[{}]]", join(&self.key, key));
        let wrong = || node.fault(format!("begin each with {wanted}"));
        node.items().ok_or_else(wrong)?.map(|item| item.table(&wanted)).collect()
    }

    /// All keys, where anybody may choose them, in the order of the file.
    pub fn entries(&self) -> Vec<(&'d str, Node<'d>)> {
        let items = self.items.iter().map(|(key, value)| (key.get_ref().as_ref(), self.node(key, value)));
        let mut entries: Vec<_> = items.collect();
        entries.sort_by_key(|(_, node)| node.at.start);
        entries
    }

    /// Refuses keys that nobody asked for. `elsewhere` knows where else such a key may stand.
    pub fn finish(&self, elsewhere: impl Fn(&str) -> Option<String>) -> Result<(), Fault> {
        let asked = self.asked.borrow();
        for (key, node) in self.entries() {
            if asked.contains(&key) {
                continue;
            }
            let near = nearest(key, asked.iter().copied());
            let text = match (elsewhere(key), near) {
                (Some(elsewhere), _) => elsewhere,
                (None, Some(near)) => format!("there is no such key; did you mean {near}?"),
                (None, None) => {
                    let mut known = asked.clone();
                    known.sort_unstable();
                    format!("there is no such key; there are {}", known.join(", "))
                }
            };
            return Err(node.fault(text));
        }
        Ok(())
    }

    /// Something is wrong with it as a whole.
    pub fn fault(&self, text: impl Into<String>) -> Fault {
        Fault { place: self.document.place(self.at.start), key: self.key.clone(), text: text.into() }
    }

    fn node(&self, key: &Spanned<std::borrow::Cow<'d, str>>, value: &'d Spanned<DeValue<'d>>) -> Node<'d> {
        let name = join(&self.key, key.get_ref());
        // Where the key is; the value may begin lines below.
        Node { document: self.document, key: name, at: key.span(), value: value.get_ref() }
    }
}

impl<'d> Node<'d> {
    pub fn place(&self) -> Place {
        self.document.place(self.at.start)
    }

    pub fn fault(&self, text: impl Into<String>) -> Fault {
        Fault { place: self.place(), key: self.key.clone(), text: text.into() }
    }

    pub fn text(&self) -> Result<&'d str, Fault> {
        self.value
            .as_str()
            .ok_or_else(|| self.fault(format!("{} will not do; write a text in quotation marks", self.what())))
    }

    /// A number, as text.
    pub fn number(&self) -> Option<String> {
        let number = self.value.as_integer()?;
        // One that is too large stays as it is: whoever wants a smaller one says so.
        let digits = i128::from_str_radix(number.as_str(), number.radix()).map(|number| number.to_string());
        Some(digits.unwrap_or_else(|_| number.as_str().to_owned()))
    }

    /// What it holds, one after the other.
    pub fn items(&self) -> Option<impl Iterator<Item = Self> + use<'d>> {
        let (document, key) = (self.document, self.key.clone());
        let items = self.value.as_array()?.iter().enumerate();
        Some(items.map(move |(index, item)| Self {
            document,
            key: format!("{key}[{index}]"),
            at: item.span(),
            value: item.get_ref(),
        }))
    }

    /// A list of texts.
    pub fn texts(&self) -> Result<Vec<Self>, Fault> {
        let wrong = || self.fault(format!("{} will not do; write a list of texts such as [\"a\", \"b\"]", self.what()));
        let items: Vec<_> = self.items().ok_or_else(wrong)?.collect();
        for item in &items {
            item.text()?;
        }
        Ok(items)
    }

    /// A table, which is begun by `wanted`.
    pub fn table(&self, wanted: &str) -> Result<Table<'d>, Fault> {
        let wrong = || self.fault(format!("{} will not do; begin it with {wanted}", self.what()));
        let items = self.value.as_table().ok_or_else(wrong)?;
        Ok(Table {
            document: self.document,
            key: self.key.clone(),
            at: self.at.clone(),
            items,
            asked: RefCell::default(),
        })
    }

    /// What it is, for a message. A text may be a secret at the wrong place.
    pub fn what(&self) -> String {
        match self.value {
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::String(_) => "a text".into(),
            DeValue::Array(_) => "a list".into(),
            DeValue::Table(_) => "a table".into(),
            DeValue::Datetime(_) => "a date".into(),
        }
    }
}

/// The line of a byte, from 1.
fn line_of(line_ends: &[usize], at: usize) -> usize {
    1 + line_ends.partition_point(|end| *end < at)
}

fn join(table: &str, key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if is_bare { key.to_owned() } else { quoted(key) };
    if table.is_empty() { key } else { format!("{table}.{key}") }
}
