//! The instances, and what belongs to one as a whole: its options and its counters.

use std::os::unix::fs::MetadataExt as _;
use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use xlat_config::{Kind, Translator};

use crate::api::{Counter, Instance, Pool6, Pool6791};
use crate::edit::{framework_of, wrong_kind};
use crate::error::Error;
use crate::extract::{InPath, Named};
use crate::globals;
use crate::read;
use crate::routes::Routes;
use crate::server::App;

pub(super) fn add(routes: Routes) -> Routes {
    for_everybody(
        routes
            .add(__path_instances, instances)
            .add(__path_global, global)
            .add(__path_pool6, pool6)
            .add(__path_pool6791, pool6791),
    )
}

/// What also those may ask who may ask for nothing else, as with Jool: how much there was of what.
pub(super) fn for_everybody(routes: Routes) -> Routes {
    routes.add(__path_statistics, statistics)
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

/// The RFC 6052 prefix of an instance. It is changed by the option `pool6`.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/pool6", tag = "tables", params(Named), responses(
    (status = OK, description = "The prefix, or `null`", body = Pool6)
))]
async fn pool6(State(shared): State<App>, InPath(named): InPath<Named>) -> Result<Json<Pool6>, Error> {
    let (config, at) = shared.find(&named)?;
    Ok(Json(match &config.instances[at].kind {
        Kind::Siit(siit) => Pool6 { prefix: siit.pool6 },
        Kind::Nat64(nat64) => Pool6 { prefix: Some(nat64.pool6) },
    }))
}

/// Where the sources of ICMP errors come from that have no translation (RFC 6791, SIIT). They are changed by the options
/// `rfc6791v4-prefix`, `rfc6791v6-prefix` and `randomize-rfc6791-addresses`.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/pool6791", tag = "tables", params(Named), responses(
    (status = OK, description = "The prefixes; `null`: addresses of the host", body = Pool6791)
))]
async fn pool6791(State(shared): State<App>, InPath(named): InPath<Named>) -> Result<Json<Pool6791>, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Siit(siit) = &config.instances[at].kind else { return Err(wrong_kind(Translator::Nat64)) };
    let global = &siit.global;
    Ok(Json(Pool6791 {
        ipv4: global.rfc6791v4_prefix,
        ipv6: global.rfc6791v6_prefix,
        randomize: global.randomize_rfc6791_addresses,
    }))
}

/// The counters of an instance, one JSON object a line.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/statistics", tag = "instances", params(Named), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Counter)
))]
async fn statistics(State(shared): State<App>, InPath(named): InPath<Named>) -> Result<Response, Error> {
    let (_, at, view) = shared.view(&named)?;
    let mut counters = read::statistics(&view, shared.daemon.by_kernel(at).await);
    if view.gauges().is_some() {
        counters.extend(shared.daemon.peers().counters(&named.name));
    }
    counters.extend(shared.daemon.log_counters());
    Ok(read::list(counters))
}
