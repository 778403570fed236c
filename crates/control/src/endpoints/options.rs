//! The options of an instance, and the prefixes among them under the names of the tables that they once were.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value};
use xlat_config::{Kind, Translator};

use super::changes::Force;
use crate::api::{Change, Done, Pool6, Pool6791};
use crate::edit::wrong_kind;
use crate::error::Error;
use crate::extract::{Asked, InPath, Named, Sent};
use crate::globals;
use crate::routes::Routes;
use crate::server::{App, in_turn};
use crate::strict::Exactly;

pub(super) fn add(routes: Routes) -> Routes {
    routes
        .add(__path_global, global)
        .add(__path_global_update, global_update)
        .add(__path_pool6, pool6)
        .add(__path_pool6_replace, pool6_replace)
        .add(__path_pool6791, pool6791)
        .add(__path_pool6791_replace, pool6791_replace)
}

/// Sets options, all of them or none.
async fn set<K: Into<String>>(
    shared: &App,
    named: &Named,
    options: impl IntoIterator<Item = (K, Value)>,
    force: bool,
) -> Result<Json<Done>, Error> {
    let change = |(key, value): (K, Value)| Change::GlobalUpdate { key: key.into(), value, force };
    let changes = named.changes(options.into_iter().map(change).collect());
    let app = Arc::clone(shared);
    // The place of an error is the option's key.
    in_turn(shared, async move { app.apply(changes, |_| None).await }).await.map(|()| Json(Done {}))
}

/// All options of an instance by their keys. Durations are milliseconds; prefixes that are not set are `null`.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/global", tag = "instances", params(Named), responses(
    (status = OK, description = "Options", content_type = "application/json", body = Object)
))]
async fn global(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
) -> Result<Json<Map<String, Value>>, Error> {
    let (config, at) = shared.find(&named)?;
    Ok(Json(globals::show(&config.instances[at])))
}

/// Sets options, all of them or none; those that are not named stay.
#[utoipa::path(patch, path = "/v1/instances/{translator}/{name}/global", tag = "instances", params(Named, Force),
    request_body(content = Object, description = "Options by their keys, as they are shown"),
    responses((status = OK, description = "They are in force", body = Done)))]
async fn global_update(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(options): Sent<Map<String, Value>>,
) -> Result<Json<Done>, Error> {
    set(&shared, &named, options, force).await
}

/// The RFC 6052 prefix of an instance. It is the option `pool6`.
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

/// Sets the RFC 6052 prefix of a SIIT instance; `null` takes it away.
#[utoipa::path(put, path = "/v1/instances/{translator}/{name}/pool6", tag = "tables", params(Named, Force),
    request_body = Pool6, responses((status = OK, description = "It is in force", body = Done)))]
async fn pool6_replace(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(Exactly(Pool6 { prefix })): Sent<Exactly<Pool6>>,
) -> Result<Json<Done>, Error> {
    set(&shared, &named, [("pool6", shown(prefix))], force).await
}

/// Where the sources of ICMP errors come from that have no translation (RFC 6791, SIIT). They are the options
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

/// Sets where the sources of ICMP errors come from that have no translation (RFC 6791, SIIT); `null`: addresses of the host.
#[utoipa::path(put, path = "/v1/instances/{translator}/{name}/pool6791", tag = "tables", params(Named, Force),
    request_body = Pool6791, responses((status = OK, description = "They are in force", body = Done)))]
async fn pool6791_replace(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(Exactly(Pool6791 { ipv4, ipv6, randomize })): Sent<Exactly<Pool6791>>,
) -> Result<Json<Done>, Error> {
    let options = [
        ("rfc6791v4-prefix", shown(ipv4)),
        ("rfc6791v6-prefix", shown(ipv6)),
        ("randomize-rfc6791-addresses", randomize.into()),
    ];
    set(&shared, &named, options, force).await
}

/// The value of an option that is a prefix.
fn shown(prefix: Option<impl std::fmt::Display>) -> Value {
    prefix.map_or(Value::Null, |prefix| prefix.to_string().into())
}
