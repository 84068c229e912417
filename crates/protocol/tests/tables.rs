//! `src/tables.js`, what the JavaScript of the client knows of the protocol's numbers: it is made from the tables here, and
//! held against them. After a change of those, `UPDATE_TABLES=1 cargo test -p antiphon-protocol --test tables` writes it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use antiphon_protocol::features::Features;
use antiphon_protocol::value::DataType;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::services::SERVICES;

#[test]
fn the_tables_of_the_javascript_client_are_those_of_the_protocol() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/tables.js");
    let tables = tables();
    if env::var_os("UPDATE_TABLES").is_some() {
        fs::write(&path, &tables).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert_eq!(found, tables, "src/tables.js is not up to date; crates/protocol/tests/tables.rs says how to write it");
}

fn tables() -> String {
    let mut text = String::from(
        "// The numbers of the protocol. Made from the tables of crates/protocol by its test `tables`, which says how: change\n\
         // them there.\n\n\
         // Data types: the number in the APIs, and the name on the wire.\n",
    );
    for data_type in DataType::ALL {
        writeln!(text, "export const TYPE_{} = {};", data_type.name().to_uppercase(), data_type.code()).unwrap();
    }
    let names = DataType::ALL.iter().map(|data_type| (u32::from(data_type.code()), data_type.name()));
    list(&mut text, "TYPE_NAMES", names);
    text.push_str("\n// Error reasons.\n");
    for reason in ErrorReason::ALL {
        writeln!(text, "export const REASON_{} = {};", reason.name().unwrap(), reason.0).unwrap();
    }
    text.push_str("\n// Services: number and name.\n");
    list(&mut text, "SERVICES", SERVICES.iter().copied());
    text.push_str("\n// Features of a connection: a bit for each, from the lowest.\n");
    writeln!(text, "export const FEATURES = [").unwrap();
    for name in Features::NAMES {
        writeln!(text, "  \"{name}\",").unwrap();
    }
    text.push_str("];\n");
    text
}

fn list(text: &mut String, name: &str, pairs: impl Iterator<Item = (u32, &'static str)>) {
    writeln!(text, "export const {name} = [").unwrap();
    for (number, name) in pairs {
        writeln!(text, "  [{number}, \"{name}\"],").unwrap();
    }
    text.push_str("];\n");
}
