//! The instances: which there are, making and ending them, and the counters of each.

use std::os::unix::fs::MetadataExt as _;
use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::changes::just;
use crate::api::{Change, Counter, Done, Instance, Translator};
use crate::bodies::NewInstance;
use crate::edit::framework_of;
use crate::error::Error;
use crate::extract::{Asked, InPath, Named, Sent};
use crate::read;
use crate::routes::Routes;
use crate::server::App;

pub(super) fn add(routes: Routes) -> Routes {
    for_everybody(
        routes
            .add(__path_instances, instances)
            .add(__path_instance_add, instance_add)
            .add(__path_instance_remove, instance_remove)
            .add(__path_instance_flush, instance_flush),
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

/// Makes an instance.
#[utoipa::path(post, path = "/v1/instances", tag = "instances", request_body = NewInstance, responses(
    (status = OK, description = "It translates", body = Done)
))]
async fn instance_add(State(shared): State<App>, Sent(new): Sent<NewInstance>) -> Result<Json<Done>, Error> {
    let NewInstance { translator, name, framework, pool6, routes } = new;
    just(&shared, Named { translator, name }, Change::InstanceAdd { framework, pool6, routes }).await
}

/// Ends an instance, with all its state.
#[utoipa::path(delete, path = "/v1/instances/{translator}/{name}", tag = "instances", params(Named), responses(
    (status = OK, description = "It is gone", body = Done)
))]
async fn instance_remove(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
) -> Result<Json<Done>, Error> {
    just(&shared, named, Change::InstanceRemove).await
}

/// Which instances.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfKind {
    /// Those of this kind.
    translator: Translator,
}

/// Ends all instances of a kind, with all their state.
#[utoipa::path(delete, path = "/v1/instances", tag = "instances", params(OfKind), responses(
    (status = OK, description = "They are gone", body = Done)
))]
async fn instance_flush(
    State(shared): State<App>,
    Asked(OfKind { translator }): Asked<OfKind>,
) -> Result<Json<Done>, Error> {
    just(&shared, Named { translator, name: String::new() }, Change::InstanceFlush).await
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
