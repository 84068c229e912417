//! The example of a configuration file, and what is made of files.

use std::path::Path;
use std::time::Instant;

use antiphon_broker::settings::{Settings, example};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/broker.toml");

#[test]
fn the_example_has_every_key_with_its_default() {
    if std::env::var_os("UPDATE_EXAMPLE").is_some() {
        std::fs::write(EXAMPLE, example()).expect("written");
    }
    let is = std::fs::read_to_string(EXAMPLE).expect("docs/broker.toml");
    assert!(is == example(), "UPDATE_EXAMPLE=1 cargo test -p antiphon-broker --test settings writes it");
}

#[test]
fn ten_times_as_many_users_take_ten_times_as_long() {
    let time = |users: usize| {
        let user =
            |number| format!("[[users]]\nname = \"{number}\"\npassword = \"$argon2id$\"\nroles = [\"CLIENT\"]\n");
        let content: String = (0..users).map(user).collect();
        let times = (0..3).map(|_| {
            let start = Instant::now();
            let settings = Settings::parse(Path::new("broker.toml"), content.clone().into()).expect("a configuration");
            assert_eq!(settings.users.len(), users);
            start.elapsed()
        });
        times.min().expect("three")
    };
    let (few, many) = (time(1_000), time(10_000));
    assert!(many < 40 * few, "{few:?} for 1,000 users, {many:?} for 10,000");
}
