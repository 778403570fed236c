//! How the rows of each table look to a person.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use xlat_config::notation::show_duration;
use xlat_control::api::{
    BibRow, Counter, Denied, Eam, Instance, Pool4Row, SessionRow, Translation, Translator, Transport4,
    Transport6,
};
use xlat_control::globals::{self, Form};

use super::output::{Cell, Column, Row, cell, left, right};
use super::paint;
use super::remote::kind;

impl Row for Instance {
    const COLUMNS: &'static [Column] = &[left("Name"), left("Type")];

    fn cells(&self) -> Vec<Cell> {
        vec![cell(&self.name), cell(kind(self.translator))]
    }
}

impl Row for Eam {
    const COLUMNS: &'static [Column] = &[left("IPv4 prefix"), left("IPv6 prefix")];

    fn cells(&self) -> Vec<Cell> {
        vec![cell(self.ipv4), cell(self.ipv6)]
    }
}

impl Row for Denied {
    const COLUMNS: &'static [Column] = &[left("IPv4 prefix")];

    fn cells(&self) -> Vec<Cell> {
        vec![cell(self.prefix)]
    }
}

impl Row for Pool4Row {
    const COLUMNS: &'static [Column] = &[left("Protocol"), right("Mark"), left("Address"), left("Ports")];

    fn cells(&self) -> Vec<Cell> {
        vec![
            cell(self.protocol.label()),
            cell(self.mark),
            cell(self.address),
            cell(format_args!("{}-{}", self.first_port, self.last_port)),
        ]
    }
}

fn six(transport: Transport6) -> Cell {
    cell(format_args!("{}#{}", transport.address, transport.port))
}

fn four(transport: Transport4) -> Cell {
    cell(format_args!("{}#{}", transport.address, transport.port))
}

impl Row for BibRow {
    const COLUMNS: &'static [Column] =
        &[left("Protocol"), left("Client"), left("Mask"), left("Made by"), right("Sessions")];

    fn cells(&self) -> Vec<Cell> {
        vec![
            cell(self.pair.protocol.label()),
            six(self.pair.ipv6),
            four(self.pair.ipv4),
            cell(if self.is_static { "operator" } else { "traffic" }),
            cell(self.sessions),
        ]
    }
}

impl Row for SessionRow {
    const COLUMNS: &'static [Column] =
        &[left("Protocol"), left("Client"), left("Mask"), left("Server"), right("Expires in"), left("State")];

    fn cells(&self) -> Vec<Cell> {
        let state = self.state.as_deref().unwrap_or_default();
        vec![
            cell(self.protocol.label()),
            six(self.remote6),
            four(self.local4),
            four(self.remote4),
            cell(show_duration(Duration::from_secs(self.expires_in / 1000))),
            if state == "ESTABLISHED" { Cell::painted(state, paint::GREEN) } else { cell(state) },
        ]
    }
}

/// A counter alone.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Count(pub(crate) Counter);

impl Row for Count {
    const COLUMNS: &'static [Column] = &[left("Counter"), right("Value")];

    fn cells(&self) -> Vec<Cell> {
        vec![cell(&self.0.name), cell(self.0.value)]
    }
}

/// A counter with its meaning.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Explained(pub(crate) Counter);

impl Row for Explained {
    const COLUMNS: &'static [Column] = &[left("Counter"), right("Value"), left("Counts"), left("Source")];

    fn cells(&self) -> Vec<Cell> {
        let Counter { name, value, explanation, source, .. } = &self.0;
        vec![cell(name), cell(value), cell(explanation), Cell::painted(source, paint::DIM)]
    }
}

/// The options of an instance, one a line.
pub(crate) fn options(translator: Translator, values: &Map<String, Value>) -> Vec<(&'static str, String)> {
    globals::keys(translator)
        .filter_map(|key| values.get(key.name).map(|value| (key.name, option(key.form, value))))
        .collect()
}

fn option(form: Form, value: &Value) -> String {
    match (form, value) {
        (_, Value::Null) => "unset".to_owned(),
        (Form::Timeout(..), value) => {
            show_duration(Duration::from_millis(value.as_u64().unwrap_or_default()))
        }
        (_, Value::Array(list)) => list.iter().map(Value::to_string).collect::<Vec<_>>().join(","),
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    }
}

/// How an address is translated.
pub(crate) fn translation(found: &Translation, verbose: bool) -> String {
    let Translation { query, result, eam, pool6 } = found;
    let how = match (eam, pool6) {
        (Some(Eam { ipv6, ipv4 }), _) => format!("  (mapping {ipv4} = {ipv6}, RFC 7757)"),
        (None, Some(pool6)) => format!("  (pool6 {pool6}, RFC 6052)"),
        (None, None) => String::new(),
    };
    if verbose { format!("{query} -> {result}{how}\n") } else { format!("{result}\n") }
}
