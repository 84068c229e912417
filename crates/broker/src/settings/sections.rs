//! The tables of a configuration file that are no settings of one value: users, tokens, roles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{Node, Table};
use super::kinds::{File, Path, Single, Time};
use super::place::{Fault, Place, nearest, quoted};
use crate::core::permissions::{GlobalPermission, PathPermission, Permission, Permissions, Role};

/// A text that no log and no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// `[anonymous]`: what sessions without a principal are; without the table, there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anonymous {
    /// Their roles.
    pub roles: Vec<String>,
}

/// `[[users]]`: somebody who logs in with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The principal.
    pub name: String,
    /// Argon2id, as a PHC string.
    pub password: Hidden,
    /// What the sessions may do.
    pub roles: Vec<String>,
    /// Session properties, by name, that no client may propose otherwise.
    pub properties: BTreeMap<String, String>,
}

/// `[[tokens]]`: JSON Web Tokens of one issuer, which are taken as passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What their claim `iss` must be, if it is given.
    pub issuer: Option<String>,
    /// What their claim `aud` must be, or have in it, if it is given.
    pub audience: Option<String>,
    /// What verifies them.
    pub keys: KeyFile,
    /// The claim that says who it is; without one, a token is the password of any principal.
    pub principal_claim: Option<String>,
    /// The claim with the roles: a list, or a text with spaces between.
    pub roles_claim: Option<String>,
    /// Session properties by name, and the claim of each.
    pub properties: BTreeMap<String, String>,
    /// How far the clocks of issuer and broker may be apart.
    pub leeway: Duration,
}

/// What verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// A file with a JWK set: public keys.
    Jwks(PathBuf),
    /// A file with the secret of HS256.
    Secret(PathBuf),
}

/// All that stands in such tables.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub anonymous: Option<Anonymous>,
    pub users: Vec<User>,
    pub tokens: Vec<Tokens>,
    pub roles: BTreeMap<String, Role>,
    /// Where values stand that are looked at later, by their keys.
    pub places: Vec<(String, Place)>,
}

impl Sections {
    pub fn read(root: &Table<'_>) -> Result<Self, Fault> {
        let roles = root.table("roles")?;
        let roles = roles.iter().flat_map(Table::entries).collect::<Vec<_>>();
        let stock = Permissions::stock();
        let mut known: BTreeSet<&str> = stock.roles().keys().map(String::as_str).collect();
        for (name, node) in &roles {
            check_role_name(name, node)?;
            known.insert(name);
        }
        let read = roles.iter().map(|(name, node)| Ok(((*name).to_owned(), role(node, &known)?)));
        let read: BTreeMap<_, _> = read.collect::<Result<_, Fault>>()?;
        check_together(&read, &roles)?;
        let roles = read;

        let anonymous = root.table("anonymous")?.map(|table| {
            let anonymous = Anonymous { roles: names_of(&table, "roles", &known)? };
            table.finish(|_| None)?;
            Ok(anonymous)
        });
        let (mut users, mut names) = (Vec::new(), BTreeSet::new());
        let mut places = Vec::new();
        for table in root.tables("users")? {
            let user = user(&table, &known, &mut places)?;
            if !names.insert(user.name.clone()) {
                return Err(table.require("name", "")?.fault(format!("{} is given twice", quoted(&user.name))));
            }
            users.push(user);
        }
        let all_tokens = root.tables("tokens")?;
        let tokens = all_tokens.iter().map(|table| tokens(table, &mut places)).collect::<Result<_, _>>()?;
        Ok(Self { anonymous: anonymous.transpose()?, users, tokens, roles, places })
    }
}

fn user(table: &Table<'_>, known: &BTreeSet<&str>, places: &mut Vec<(String, Place)>) -> Result<User, Fault> {
    let name = table.require("name", "\"ada\"")?;
    let text = name.text()?;
    if text.is_empty() {
        return Err(name.fault("it is empty; sessions without a name are [anonymous]"));
    }
    let password = table.require("password", "what `antiphon-broker passwd` prints, in quotation marks")?;
    let hash = password.text()?;
    places.push((password.key.clone(), password.place()));
    let user = User {
        name: text.into(),
        password: Hidden(hash.into()),
        roles: names_of(table, "roles", known)?,
        properties: properties(table)?.into_iter().map(|(name, value, _)| (name, value)).collect(),
    };
    table.finish(|_| None)?;
    Ok(user)
}

fn tokens(table: &Table<'_>, places: &mut Vec<(String, Place)>) -> Result<Tokens, Fault> {
    let text = |key| optional_text(table, key);
    let mut file = |node: &Node<'_>| {
        places.push((node.key.clone(), node.place()));
        File.parse(node.text()?, &node.place()).map_err(|text| node.fault(text))
    };
    let keys = match (table.get("keys"), table.get("secret_file")) {
        (Some(keys), None) => KeyFile::Jwks(file(&keys)?),
        (None, Some(secret)) => KeyFile::Secret(file(&secret)?),
        (Some(_), Some(secret)) => return Err(secret.fault("keys is given as well; leave one of them out")),
        (None, None) => {
            return Err(table
                .require("keys", "\"jwks.json\", or secret_file for HS256")
                .err()
                .unwrap_or_else(|| table.fault("it has no keys")));
        }
    };
    let leeway = table
        .get("leeway")
        .map(|node| Time::zero_or_at_least(1).parse(node.text()?, &node.place()).map_err(|text| node.fault(text)));
    let tokens = Tokens {
        issuer: text("issuer")?,
        audience: text("audience")?,
        keys,
        principal_claim: text("principal_claim")?,
        roles_claim: text("roles_claim")?,
        properties: properties(table)?.into_iter().map(|(name, claim, _)| (name, claim)).collect(),
        leeway: leeway.transpose()?.unwrap_or(Duration::ZERO),
    };
    table.finish(|_| None)?;
    Ok(tokens)
}

fn role(node: &Node<'_>, known: &BTreeSet<&str>) -> Result<Role, Fault> {
    let table = node.table(&format!("[{}]", node.key))?;
    let mut role = Role {
        includes: names_of(&table, "includes", known)?,
        global: permissions::<_, PathPermission>(table.get("global"), "default_path or paths")?,
        default_path: permissions::<_, GlobalPermission>(table.get("default_path"), "global")?,
        paths: BTreeMap::new(),
    };
    for (path, node) in table.table("paths")?.iter().flat_map(Table::entries) {
        let path = Path.parse(path, &node.place()).map_err(|text| node.fault(text))?;
        if role.paths.contains_key(&path) {
            return Err(node.fault(format!("{} is given twice", quoted(&path))));
        }
        role.paths.insert(path, permissions::<_, GlobalPermission>(Some(node), "global")?);
    }
    table.finish(|_| None)?;
    Ok(role)
}

/// Roles that include each other mean nothing.
fn check_together(read: &BTreeMap<String, Role>, nodes: &[(&str, Node<'_>)]) -> Result<(), Fault> {
    let Err(fault) = Permissions::new(read.clone(), &[]) else { return Ok(()) };
    let node = nodes.iter().find(|(name, _)| fault.place.get(1).is_some_and(|wrong| wrong == name));
    let place = node.map_or(Place::Default, |(_, node)| node.place());
    Err(Fault { place, key: fault.place.join("."), text: fault.problem })
}

fn check_role_name(name: &str, node: &Node<'_>) -> Result<(), Fault> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_good) {
        return Ok(());
    }
    Err(node.fault("a role has a name of letters, digits, - and _"))
}

/// Names of roles, each of which must be known.
fn names_of(table: &Table<'_>, key: &'static str, known: &BTreeSet<&str>) -> Result<Vec<String>, Fault> {
    let Some(node) = table.get(key) else { return Ok(Vec::new()) };
    let check = |node: &Node<'_>| {
        let name = node.text()?;
        if known.contains(name) {
            return Ok(name.to_owned());
        }
        let near = nearest(name, known.iter().copied());
        let instead =
            near.map_or_else(|| format!("define it with [roles.{name}]"), |near| format!("did you mean \"{near}\"?"));
        Err(node.fault(format!("there is no role {}; {instead}", quoted(name))))
    };
    node.texts()?.iter().map(check).collect()
}

/// Permissions of one kind; those of the `Other` kind have another place.
fn permissions<P: Permission, Other: Permission>(node: Option<Node<'_>>, instead: &str) -> Result<Vec<P>, Fault> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let names = || P::ALL.iter().map(|permission| permission.name());
    let check = |node: &Node<'_>| {
        let name = node.text()?;
        if let Some(permission) = P::named(name) {
            return Ok(permission);
        }
        if Other::named(name).is_some() {
            return Err(node.fault(format!("{name} is granted under {instead}")));
        }
        let instead = nearest(name, names()).map(|near| format!("did you mean \"{near}\"?"));
        let all = || format!("there are {}", names().collect::<Vec<_>>().join(", "));
        Err(node.fault(format!("there is no permission {}; {}", quoted(name), instead.unwrap_or_else(all))))
    };
    node.texts()?.iter().map(check).collect()
}

/// `properties = { name = "value" }`, each with where it stands.
fn properties<'d>(table: &Table<'d>) -> Result<Vec<(String, String, Node<'d>)>, Fault> {
    let Some(node) = table.get("properties") else { return Ok(Vec::new()) };
    let wanted = format!("{} = {{ name = \"value\" }}", node.key);
    let mut properties = Vec::new();
    for (name, node) in node.table(&wanted)?.entries() {
        if name.is_empty() || name.starts_with(['$', '*']) {
            return Err(node.fault("names with $ are the broker's own; choose another one"));
        }
        properties.push((name.to_owned(), node.text()?.to_owned(), node));
    }
    Ok(properties)
}

fn optional_text(table: &Table<'_>, key: &'static str) -> Result<Option<String>, Fault> {
    let Some(node) = table.get(key) else { return Ok(None) };
    let text = node.text()?;
    if text.is_empty() {
        Err(node.fault("it is empty; write a text, or leave the key out"))
    } else {
        Ok(Some(text.into()))
    }
}
