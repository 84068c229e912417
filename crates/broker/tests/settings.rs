//! The example of a configuration file, and what is made of files.

use antiphon_broker::settings::example;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/broker.toml");

#[test]
fn the_example_has_every_key_with_its_default() {
    if std::env::var_os("UPDATE_EXAMPLE").is_some() {
        std::fs::write(EXAMPLE, example()).expect("written");
    }
    let is = std::fs::read_to_string(EXAMPLE).expect("docs/broker.toml");
    assert!(is == example(), "UPDATE_EXAMPLE=1 cargo test -p antiphon-broker --test settings writes it");
}
