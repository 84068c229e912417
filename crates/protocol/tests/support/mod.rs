//! The recorded vectors.

use std::fmt;

use serde_json::Value as Json;

/// One vector of `tests/vectors/vectors.json` (section 16).
pub struct Vector {
    pub name: String,
    pub source: String,
    pub bytes: Vec<u8>,
    pub decoded: Json,
    entry: Json,
}

impl Vector {
    /// Protocol version of a message.
    pub fn protocol(&self) -> u64 {
        self.entry["protocol"].as_u64().expect("a protocol version")
    }

    /// Request target or header lines of a handshake request.
    pub fn text(&self) -> &str {
        self.entry["text"].as_str().expect("text")
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {}", self.name, self.source, hex::encode(&self.bytes))
    }
}

/// All vectors of a kind.
pub fn vectors(kind: &str) -> impl Iterator<Item = Vector> {
    const FILE: &str = include_str!("../../../../tests/vectors/vectors.json");
    let entries: Vec<Json> = serde_json::from_str(FILE).expect("the vectors are JSON");
    let kind = kind.to_owned();
    entries.into_iter().filter(move |entry| entry["kind"] == *kind).map(|entry| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        Vector {
            name: text("name"),
            source: text("source"),
            bytes: hex::decode(text("hex")).expect("hex"),
            decoded: entry["decoded"].clone(),
            entry,
        }
    })
}
