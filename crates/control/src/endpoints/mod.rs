//! What can be asked and told, one file for each group of endpoints.

mod changes;
mod configuration;
mod document;
mod entries;
mod explain;
mod instances;
mod options;
mod status;
mod tables;

use serde_json::Value;
use utoipa::openapi::{Info, License, OpenApi, Paths, Server};

use crate::live;
use crate::routes::Routes;
use crate::schema::{Address, Prefix};
use crate::{capture, events, peers};

/// All of them.
pub(crate) fn all() -> Routes {
    let routes = Routes::new(head()).schema::<Prefix>().schema::<Address>();
    let routes = document::add(routes);
    let routes = status::add(routes);
    let routes = configuration::add(routes);
    let routes = explain::add(routes);
    let routes = instances::add(routes);
    let routes = options::add(routes);
    let routes = tables::add(routes);
    let routes = entries::add(routes);
    let routes = changes::add(routes);
    let routes = events::add(routes);
    let routes = peers::add(routes);
    let routes = capture::add(routes);
    live::add(routes)
}

/// Those for whoever may not ask for more.
pub(crate) fn for_everybody() -> Routes {
    instances::for_everybody(Routes::new(head()))
}

/// The OpenAPI document of everything that the daemon can be asked.
#[must_use]
pub fn document() -> Value {
    // It is plain data: this does not fail.
    let mut document = serde_json::to_value(all().document).unwrap_or_default();
    bound(&mut document);
    document
}

/// Gives unsigned numbers their greatest value: their format alone means little to most programs.
fn bound(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let most = match members.get("format").and_then(Value::as_str) {
                Some("uint8" | "u-int8") => Some(u64::from(u8::MAX)),
                Some("uint16" | "u-int16") => Some(u64::from(u16::MAX)),
                Some("uint32" | "u-int32") => Some(u64::from(u32::MAX)),
                Some("uint64" | "u-int64") => Some(u64::MAX),
                Some(_) | None => None,
            };
            if let Some(most) = most {
                members.entry("maximum").or_insert_with(|| most.into());
            }
            members.values_mut().for_each(bound);
        }
        Value::Array(items) => items.iter_mut().for_each(bound),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn head() -> OpenApi {
    let mut info = Info::new("xlat", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "What a running xlat daemon can be asked and told, over the abstract Unix socket @xlat of its network namespace."
            .to_owned(),
    );
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    let mut document = OpenApi::new(info, Paths::new());
    document.servers = Some(vec![Server::new("http://xlat")]);
    document
}
