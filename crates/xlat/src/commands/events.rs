//! `xlat events`: what happens, as it happens.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::{Map, Value};

use super::output::Stdout;
use super::paint;
use super::remote::{Remote, escaped};
use super::trouble::Trouble;
use crate::cli::files::Events;

/// Follows the stream until it ends, or the reader has gone.
pub(crate) async fn follow(events: &Events) -> Result<(), Trouble> {
    let mut query = Vec::new();
    if !events.kind.is_empty() {
        query.push(format!("kind={}", escaped(&events.kind.join(","))));
    }
    query.extend(events.to.instance.as_ref().map(|name| format!("instance={}", escaped(name))));
    query.extend(events.within.map(|within| format!("within={within}")));
    let mark = if query.is_empty() { "" } else { "?" };
    let remote = Remote::new(&events.to);
    let mut rows = remote.rows(&format!("/v1/events{mark}{}", query.join("&"))).await?;
    let is_painted = paint::stdout();
    while let Some(event) = rows.whenever::<Map<String, Value>>().await? {
        let text = match events.to.json {
            true => Value::from(event).to_string(),
            false => line(&event, is_painted),
        };
        writeln!(Stdout, "{text}")?;
    }
    Err(Trouble::refused("the daemon has ended the stream"))
}

/// Time and event first, then what else there is.
fn line(event: &Map<String, Value>, is_painted: bool) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        // A transport address.
        Value::Object(pair) => match (pair.get("address").and_then(Value::as_str), pair.get("port")) {
            (Some(address), Some(port)) => format!("{address}#{port}"),
            _ => value.to_string(),
        },
        other => other.to_string(),
    };
    let (bold, dim) = (paint::BOLD.when(is_painted), paint::DIM.when(is_painted));
    let of = |key: &str| event.get(key).map(word).unwrap_or_default();
    let mut text = format!("{dim}{}{dim:#} {bold}{}{bold:#}", of("time"), of("event"));
    for (key, value) in
        event.iter().filter(|(key, value)| !["time", "event"].contains(&key.as_str()) && !value.is_null())
    {
        // Writing to a string does not fail.
        let _ = write!(text, " {dim}{key}={dim:#}{}", word(value));
    }
    text
}
