//! The instances, and what belongs to one as a whole: its options and its counters.

use std::os::unix::fs::MetadataExt as _;
use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use crate::api::{Counter, Instance};
use crate::edit::framework_of;
use crate::error::Error;
use crate::extract::{InPath, Named};
use crate::globals;
use crate::read;
use crate::routes::Routes;
use crate::server::App;

pub(super) fn add(routes: Routes) -> Routes {
    routes.add(__path_instances, instances).add(__path_global, global).add(__path_statistics, statistics)
}

/// All instances, one JSON object a line.
#[utoipa::path(get, path = "/v1/instances", tag = "instances", responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Instance)
))]
async fn instances(State(shared): State<App>) -> Response {
    let namespace = std::fs::metadata("/proc/self/ns/net").map_or(0, |found| found.ino());
    let frameworks = shared.frameworks.read().unwrap_or_else(PoisonError::into_inner);
    let config = shared.daemon.config();
    let row = |instance: &xlat_config::Instance| Instance {
        namespace,
        name: instance.name.clone(),
        translator: instance.kind.translator().into(),
        framework: framework_of(&frameworks, instance),
    };
    read::list(config.instances.iter().map(row).collect())
}

/// All options of an instance by their keys. Durations are milliseconds; prefixes that are not set are `null`.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/global", tag = "instances", params(Named), responses(
    (status = OK, description = "Options", content_type = "application/json", body = Object)
))]
async fn global(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
) -> Result<Json<serde_json::Map<String, serde_json::Value>>, Error> {
    let (config, at) = shared.find(&named)?;
    Ok(Json(globals::show(&config.instances[at])))
}

/// The counters of an instance, one JSON object a line.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/statistics", tag = "instances", params(Named), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Counter)
))]
async fn statistics(State(shared): State<App>, InPath(named): InPath<Named>) -> Result<Response, Error> {
    let (_, _, view) = shared.view(&named)?;
    let mut counters = read::statistics(&view);
    if view.gauges().is_some() {
        counters.extend(shared.daemon.peers().counters(&named.name));
    }
    counters.extend(shared.daemon.log_counters());
    Ok(read::list(counters))
}
