//! What was given for the rows of the table of settings: in the file, in variables, on the command line.

use std::ffi::OsString;

use super::Settings;
use super::document::Table;
use super::kinds::{Form, Item};
use super::place::{Fault, Place};
use super::rows::{Group, ROWS, Row};

/// What was given for the rows. Whoever comes later overrides; what is overridden has to be right all the same.
#[derive(Default)]
pub(super) struct Given(Vec<(usize, Place, Vec<Item>)>);

impl Given {
    fn put(&mut self, row: usize, place: Place, items: Vec<Item>) {
        self.0.push((row, place, items));
    }

    /// Those of the file, by their tables.
    pub fn read_file(&mut self, root: &Table<'_>) -> Result<(), Fault> {
        let tables = [Group::Limits, Group::Tls, Group::Admin, Group::Cluster];
        let tables = tables.map(|group| root.table(group.table()).map(|table| Some((group, table?))));
        let tables = tables.into_iter().collect::<Result<Vec<_>, _>>()?;
        let table_of =
            |wanted: Group| tables.iter().flatten().find(|(group, _)| *group == wanted).map(|(_, table)| table);
        for (number, row) in ROWS.iter().enumerate() {
            let own = match row.group {
                Group::Top | Group::TopLimit => Some(root),
                group => table_of(group),
            };
            let own = own.map(|table| items_of(row, table)).transpose()?.flatten();
            let among_limits = table_of(Group::Limits).filter(|_| row.group == Group::TopLimit);
            let among_limits = among_limits.map(|table| items_of(row, table)).transpose()?.flatten();
            if let (Some(_), Some((place, _))) = (&own, &among_limits) {
                let key = format!("limits.{}", row.key);
                let text = format!("{} is given above all tables as well; leave one of them out", row.key);
                return Err(Fault { place: place.clone(), key, text });
            }
            if let Some((place, items)) = own.or(among_limits) {
                self.put(number, place, items);
            }
        }
        for (_, table) in tables.iter().flatten() {
            table.finish(key_elsewhere)?;
        }
        Ok(())
    }

    /// Those of the environment.
    pub fn read_variables(&mut self, variables: &[(String, OsString)]) -> Result<(), Fault> {
        for (number, row) in ROWS.iter().enumerate() {
            let name = row.variable();
            let Some((_, value)) = variables.iter().find(|(variable, _)| *variable == name) else { continue };
            let place = Place::Variable(name);
            let Some(text) = value.to_str() else {
                return Err(Fault { place, key: row.path(), text: "it is not UTF-8; write it as UTF-8".into() });
            };
            // Where variables cannot be unset, they are set to nothing.
            if text.is_empty() {
                continue;
            }
            let item = |text: &str| Item { text: text.trim().into(), place: place.clone() };
            let is_list = (row.form)().is_list();
            let items = if is_list { text.split(',').map(item).collect() } else { vec![item(text)] };
            self.put(number, place.clone(), items);
        }
        Ok(())
    }

    /// Those of the command line, by number of the row.
    pub fn read_flags(&mut self, flags: &[(usize, Vec<String>)]) {
        for (row, texts) in flags {
            let place = Place::Flag(format!("--{}", ROWS[*row].flag()));
            let items = texts.iter().map(|text| Item { text: text.clone(), place: place.clone() }).collect();
            self.put(*row, place, items);
        }
    }

    /// Puts all of it into the settings.
    pub fn apply(self, settings: &mut Settings) -> Result<(), Fault> {
        for (number, place, items) in self.0 {
            let row = &ROWS[number];
            (row.set)(settings, &items).map_err(|(index, text)| {
                let place = items.get(index).map_or(&place, |item| &item.place).clone();
                Fault { place, key: row.path(), text }
            })?;
            settings.places.insert(row.path(), place);
        }
        Ok(())
    }
}

/// What a table of the file says about a row, and where.
fn items_of(row: &Row, table: &Table<'_>) -> Result<Option<(Place, Vec<Item>)>, Fault> {
    let Some(node) = table.get(row.key) else { return Ok(None) };
    let item = |text: &str| Item { text: text.into(), place: node.place() };
    let items = match (row.form)() {
        Form::Number => vec![item(&node.number().ok_or_else(|| {
            node.fault(format!("{} will not do; write a number without quotation marks", node.what()))
        })?)],
        Form::TextOrNumber => vec![match node.number() {
            Some(number) => item(&number),
            None => item(node.text()?),
        }],
        Form::Text => vec![item(node.text()?)],
        Form::Texts => {
            let texts = node.texts()?;
            let items = texts.iter().map(|node| Ok(Item { text: node.text()?.into(), place: node.place() }));
            items.collect::<Result<_, Fault>>()?
        }
        Form::PathTimeouts => {
            let pairs = table.tables(row.key)?;
            pairs.iter().map(path_timeout).collect::<Result<_, _>>()?
        }
    };
    Ok(Some((node.place(), items)))
}

fn path_timeout(table: &Table<'_>) -> Result<Item, Fault> {
    let path = table.require("path", "\"orders/slow\"")?;
    let timeout = table.require("timeout", "\"5m\"")?;
    table.finish(|_| None)?;
    Ok(Item { text: format!("{}={}", path.text()?, timeout.text()?), place: timeout.place() })
}

/// Where a key may stand that is unknown where it stands.
pub(super) fn key_elsewhere(key: &str) -> Option<String> {
    let row = ROWS.iter().find(|row| row.key == key)?;
    Some(match row.group.table() {
        "" => format!("{key} stands above the first [table]"),
        table => format!("{key} stands in [{table}]"),
    })
}
