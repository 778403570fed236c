//! The tables of an instance, one JSON object a line.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use xlat_config::{Kind, Translator};

use crate::api::{BibRow, Denied, Eam, Pool4Row, Protocol, SessionRow, Translation};
use crate::edit::wrong_kind;
use crate::error::Error;
use crate::extract::{Asked, InPath, Named, NamedAddress};
use crate::pool4;
use crate::read::{self, Wanted};
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

/// The explicit address mappings (SIIT), the most recently added first.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/eamt", tag = "tables", params(Named), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Eam)
))]
async fn eamt(State(shared): State<App>, InPath(named): InPath<Named>) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Siit(siit) = &config.instances[at].kind else { return Err(wrong_kind(Translator::Nat64)) };
    // The configuration is held, not copied, while the client reads.
    let (mut left, config) = (siit.eamt.len(), Arc::clone(&config));
    Ok(read::lines(move || {
        let Kind::Siit(siit) = &config.instances.get(at)?.kind else { return None };
        let from = left.saturating_sub(512);
        let step = siit.eamt.get(from..left).filter(|step| !step.is_empty())?;
        left = from;
        Some(step.iter().rev().map(|entry| Eam { ipv6: entry.ipv6, ipv4: entry.ipv4 }).collect())
    }))
}

/// What pool6 must not translate (SIIT).
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/denylist4", tag = "tables", params(Named), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Denied)
))]
async fn denylist4(State(shared): State<App>, InPath(named): InPath<Named>) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Siit(siit) = &config.instances[at].kind else { return Err(wrong_kind(Translator::Nat64)) };
    Ok(read::list(siit.denylist4.iter().map(|prefix| Denied { prefix: *prefix }).collect()))
}

/// Which set of pool4 is wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Set {
    /// Its protocol.
    #[serde(default)]
    protocol: Protocol,
}

/// The transport addresses that clients share (NAT64), one address with one range of ports a line.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/pool4", tag = "tables", params(Named, Set), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Pool4Row)
))]
async fn pool4_rows(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(set): Asked<Set>,
) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Nat64(nat64) = &config.instances[at].kind else { return Err(wrong_kind(Translator::Siit)) };
    Ok(read::list(pool4::rows(&nat64.pool4, set.protocol)))
}

/// The Binding Information Base (NAT64): clients and their masks.
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/bib", tag = "tables", params(Named, Wanted), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = BibRow)
))]
async fn bib(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Error> {
    Ok(read::bib(shared.stateful(&named)?, wanted))
}

/// The sessions (NAT64).
#[utoipa::path(get, path = "/v1/instances/{translator}/{name}/sessions", tag = "tables", params(Named, Wanted), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = SessionRow)
))]
async fn sessions(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Error> {
    Ok(read::sessions(shared.stateful(&named)?, wanted))
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
