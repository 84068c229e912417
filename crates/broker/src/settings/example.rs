//! The example of a configuration file, docs/broker.toml: every key with its default.

use std::fmt::Write;

use super::Settings;
use super::kinds::Form;
use super::rows::{Group, ROWS, Row};

/// The text of docs/broker.toml.
#[must_use]
pub fn example() -> String {
    let defaults = Settings::production("broker.toml".into());
    let mut text = HEAD.to_owned();
    let of = |wanted: &[Group]| ROWS.iter().filter(|row| wanted.contains(&row.group)).collect::<Vec<_>>();
    for row in of(&[Group::Top, Group::TopLimit]) {
        describe(&mut text, row, &defaults);
    }
    text.push_str("\n# What is too much: each of these is a row of docs/limits.md.\n[limits]\n");
    for row in of(&[Group::Limits]) {
        describe(&mut text, row, &defaults);
    }
    text.push_str(TABLES);
    text
}

/// A row as it stands there: a default as it holds, and what has none as a comment.
fn describe(text: &mut String, row: &Row, defaults: &Settings) {
    let values = (row.show)(defaults);
    let form = (row.form)();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n# {}", row.help.trim());
    let _ = match (form, values.is_empty()) {
        (Form::PathTimeouts, _) => writeln!(text, "# (see [[{}]] below)", row.key),
        (Form::Texts, _) => writeln!(text, "{} = [{}]", row.key, quoted(&values)),
        (_, true) => writeln!(text, "# {} = {}", row.key, sample((row.value_name)())),
        (Form::Number, false) => writeln!(text, "{} = {}", row.key, values.concat()),
        (Form::Text | Form::TextOrNumber, false) => writeln!(text, "{} = {}", row.key, quoted(&values)),
    };
}

fn quoted(values: &[String]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
    quoted.join(", ")
}

/// What could stand where nothing is the default.
fn sample(value_name: &str) -> &'static str {
    match value_name {
        "DIR" => "\"site\"",
        "SIZE" => "\"512MiB\"",
        _ => "\"...\"",
    }
}

const HEAD: &str = r#"# The configuration of antiphon-broker: every key, with its default. What has no default is a comment.
#
#   antiphon-broker init broker.toml        writes a shorter file to begin with
#   antiphon-broker check broker.toml       says whether a file will do
#   antiphon-broker --config broker.toml    starts the broker with it
#
# Every key that stands outside of [[...]] tables, [anonymous] and [roles] is also an option of the command line
# (--max-sessions, --tls-certificate) and a variable of the environment (ANTIPHON_MAX_SESSIONS): the option wins over the
# variable, and that over the file. Lists are repeated options, and in a variable divided by commas.
# SIGHUP makes the broker read the file again. Files that are named here are beside this one. Nothing is granted that
# does not stand here.
"#;

const TABLES: &str = r#"
# Recipients that may take longer: requests to a path and everything below it.
# [[request_timeout_for]]
# path = "reports"
# timeout = "5m"

# With both, all addresses of `listen` take wss:// and https:// alone.
# [tls]
# certificate = "cert.pem"
# key = "key.pem"
# hsts = "31536000s"

# Sessions that give no principal. Without this table they are refused.
# [anonymous]
# roles = ["CLIENT"]

# Whoever logs in with a password. `antiphon-broker passwd` makes the hash.
# [[users]]
# name = "ada"
# password = "$argon2id$v=19$m=19456,t=2,p=1$..."
# roles = ["CLIENT_CONTROL"]
# properties = { team = "blue" }

# JSON Web Tokens, which are given instead of passwords. `keys` is a JWK set with public keys; `secret_file` has the
# secret of HS256. Without `principal_claim`, a token is the password of any principal; without `roles_claim`, its bearer
# has no roles. `properties`: session properties, and the claims that they are made of.
# [[tokens]]
# issuer = "https://id.example.com"
# audience = "antiphon"
# keys = "jwks.json"
# principal_claim = "sub"
# roles_claim = "roles"
# properties = { tenant = "tenant" }
# leeway = "0s"

# Roles. The stock roles CLIENT, CLIENT_CONTROL, TOPIC_CONTROL, AUTHENTICATION_HANDLER, OPERATOR and ADMINISTRATOR exist
# unless they are defined here.
# [roles.ORDERS]
# includes = ["CLIENT"]
# global = ["REGISTER_HANDLER"]
# default_path = []
# [roles.ORDERS.paths]
# "orders" = ["SEND_TO_MESSAGE_HANDLER"]
# "orders/secret" = []

# Health checks, metrics and the console. Not served by this version.
# [admin]
# listen = "127.0.0.1:8081"

# Several brokers as one. Not served by this version.
# [cluster]
# name = "main"
# nats = ["nats://127.0.0.1:4222"]
"#;
