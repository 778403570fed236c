//! The tables of an instance, one JSON object a line.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ipnet::IpNet;
use serde::Deserialize;
use xlat_config::{Kind, Translator};

use crate::api::{BibRow, Denied, Eam, Pool4Row, Protocol, SessionRow, Translation};
use crate::edit::wrong_kind;
use crate::error::Error;
use crate::extract::{Asked, InPath, Named, NamedAddress};
use crate::page::{self, Marked, Part};
use crate::pool4;
use crate::read::{self, Wanted, meets};
use crate::routes::Routes;
use crate::server::App;

pub(super) fn add(routes: Routes) -> Routes {
    routes
        .add(__path_eamt, eamt)
        .add(__path_denylist4, denylist4)
        .add(__path_pool4_rows, pool4_rows)
        .add(__path_bib, bib)
        .add(__path_sessions, sessions)
        .add(__path_address, address)
}

/// Which part of a table is wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Rows {
    /// Only prefixes that are part of this one, or that it is part of.
    #[param(value_type = Option<crate::schema::Prefix>)]
    within: Option<IpNet>,
    /// Only what comes behind this cursor, the last one that a row of an earlier answer had.
    after: Option<String>,
    /// At most so many rows.
    limit: Option<u64>,
}

/// The explicit address mappings (SIIT), the most recently added first.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/eamt", tag = "tables", params(Named, Rows), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Marked<Eam>)
))]
async fn eamt(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Rows { within, after, limit }): Asked<Rows>,
) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Siit(siit) = &config.instances[at].kind else { return Err(wrong_kind(Translator::Nat64)) };
    // The configuration is held, not copied, while the client reads.
    let (len, config) = (siit.eamt.len(), Arc::clone(&config));
    let row = move |index: usize| {
        let Kind::Siit(siit) = &config.instances.get(at)?.kind else { return None };
        let entry = siit.eamt.get(len.checked_sub(index + 1)?)?;
        Some(Eam { ipv6: entry.ipv6, ipv4: entry.ipv4 })
    };
    let is_wanted = move |row: &Eam| meets(within, row.ipv4) || meets(within, row.ipv6);
    page::table(len, row, &Part { after, limit }, is_wanted).await
}

/// What pool6 must not translate (SIIT).
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/denylist4", tag = "tables", params(Named, Rows), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Marked<Denied>)
))]
async fn denylist4(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Rows { within, after, limit }): Asked<Rows>,
) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Siit(siit) = &config.instances[at].kind else { return Err(wrong_kind(Translator::Nat64)) };
    let rows = siit.denylist4.clone();
    page::table(
        rows.len(),
        move |index| rows.get(index).map(|prefix| Denied { prefix: *prefix }),
        &Part { after, limit },
        move |row: &Denied| meets(within, row.prefix),
    )
    .await
}

/// Which set of pool4 is wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Set {
    /// Its protocol.
    #[serde(default)]
    protocol: Protocol,
    /// Its mark; absent: all marks.
    mark: Option<u32>,
    /// Only addresses in this prefix.
    #[param(value_type = Option<crate::schema::Prefix>)]
    within: Option<IpNet>,
    /// Only what has this port or identifier.
    port: Option<u16>,
    /// Only what comes behind this cursor, the last one that a row of an earlier answer had.
    after: Option<String>,
    /// At most so many rows.
    limit: Option<u64>,
}

/// The transport addresses that clients share (NAT64), one address with one range of ports a line.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/pool4", tag = "tables", params(Named, Set), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Marked<Pool4Row>)
))]
async fn pool4_rows(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Set { protocol, mark, within, port, after, limit }): Asked<Set>,
) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Nat64(nat64) = &config.instances[at].kind else { return Err(wrong_kind(Translator::Siit)) };
    let mut rows = pool4::rows(&nat64.pool4, protocol);
    rows.retain(|row| {
        mark.is_none_or(|mark| mark == row.mark)
            && within.is_none_or(|within| within.contains(&IpAddr::V4(row.address)))
            && port.is_none_or(|port| (row.first_port..=row.last_port).contains(&port))
    });
    page::table(rows.len(), move |index| rows.get(index).copied(), &Part { after, limit }, |_| true).await
}

/// The Binding Information Base (NAT64): clients and their masks.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/bib", tag = "tables", params(Named, Wanted), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Marked<BibRow>)
))]
async fn bib(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Error> {
    read::bib(shared.stateful(&named)?, wanted)
}

/// The sessions (NAT64).
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/sessions", tag = "tables", params(Named, Wanted), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Marked<SessionRow>)
))]
async fn sessions(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Error> {
    read::sessions(shared.stateful(&named)?, wanted)
}

/// How one address is translated (SIIT).
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/address/{address}", tag = "tables",
    params(NamedAddress), responses((status = OK, description = "Its translation", body = Translation)
))]
async fn address(
    State(shared): State<App>,
    InPath(asked): InPath<NamedAddress>,
) -> Result<Json<Translation>, Error> {
    let named = Named { translator: asked.translator, name: asked.name };
    let (config, at, view) = shared.view(&named)?;
    read::translation(&view, &config, at, asked.address).map(Json)
}
