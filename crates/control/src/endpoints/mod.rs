//! What can be asked and told, one file for each group of endpoints.

mod changes;
mod configuration;
mod document;
mod explain;
mod instances;
mod status;
mod tables;

use utoipa::openapi::{Info, License, OpenApi, Paths, Server};

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
    let routes = tables::add(routes);
    let routes = changes::add(routes);
    let routes = events::add(routes);
    let routes = peers::add(routes);
    capture::add(routes)
}

/// The OpenAPI document of everything that the daemon can be asked.
#[must_use]
pub fn document() -> OpenApi {
    all().document
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
