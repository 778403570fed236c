//! Entries of the tables of an instance: added, removed, replaced as a whole. Each request becomes the changes that
//! `POST /v1/changes` has for it, and has its checks.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ipnet::{Ipv4Net, Ipv6Net};
use serde::Deserialize;
use xlat_config::{BibEntry, Kind, Translator};

use super::changes::{Force, just};
use crate::api::{BibPair, Change, Denied, Done, Eam, Pool4Block, Protocol, Transport4, Transport6};
use crate::bodies::NewPool4;
use crate::edit::wrong_kind;
use crate::error::Error;
use crate::extract::{Asked, InPath, Named, Sent};
use crate::pool4;
use crate::routes::Routes;
use crate::schema::{Address4, Address6, Prefix4, Prefix6};
use crate::server::{App, in_turn};
use crate::strict::{Exactly, values};

pub(super) fn add(routes: Routes) -> Routes {
    routes
        .schema::<Address4>()
        .schema::<Address6>()
        .schema::<Prefix4>()
        .schema::<Prefix6>()
        .add(__path_eamt_add, eamt_add)
        .add(__path_eamt_replace, eamt_replace)
        .add(__path_eamt_remove, eamt_remove)
        .add(__path_denylist4_add, denylist4_add)
        .add(__path_denylist4_replace, denylist4_replace)
        .add(__path_denylist4_remove, denylist4_remove)
        .add(__path_pool4_add, pool4_add)
        .add(__path_pool4_replace, pool4_replace)
        .add(__path_pool4_remove, pool4_remove)
        .add(__path_bib_add, bib_add)
        .add(__path_bib_remove, bib_remove)
}

/// Makes `new` after `flush`; the place of an error is that in the list.
async fn replaced(
    shared: App,
    named: &Named,
    flush: Change,
    new: impl Iterator<Item = Change>,
) -> Result<(), Error> {
    let changes = named.changes(std::iter::once(flush).chain(new).collect());
    shared.apply(changes, |at| at.checked_sub(1).map(|at| format!("[{at}]"))).await
}

/// Puts `new` in the place of all entries.
async fn replace(
    shared: &App,
    named: Named,
    flush: Change,
    new: impl Iterator<Item = Change> + Send + 'static,
) -> Result<Json<Done>, Error> {
    let app = Arc::clone(shared);
    let work = async move { replaced(app, &named, flush, new).await };
    in_turn(shared, work).await.map(|()| Json(Done {}))
}

/// What to remove: one entry if the query names one, everything only if it says so.
fn removal(one: Option<Change>, all: bool, flush: Change) -> Result<Change, Error> {
    match (one, all) {
        (Some(one), false) => Ok(one),
        (None, true) => Ok(flush),
        (Some(_), true) => Err(Error::unreadable(&"one entry or all of them: not both").at("all")),
        (None, false) => Err(Error::unreadable(&"the query names no entry")
            .with_help("name it as docs/api.md says, or remove everything with all=true")),
    }
}

/// Adds a mapping (SIIT).
#[utoipa::path(post, path = "/v1/instances/{translator}/{name}/eamt", tag = "tables", params(Named, Force),
    request_body = Eam, responses((status = OK, description = "It is in force", body = Done)))]
async fn eamt_add(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(Exactly(Eam { ipv6, ipv4 })): Sent<Exactly<Eam>>,
) -> Result<Json<Done>, Error> {
    just(&shared, named, Change::EamtAdd { ipv6, ipv4, force }).await
}

/// Puts these mappings in the place of all that there are (SIIT).
#[utoipa::path(put, path = "/v1/instances/{translator}/{name}/eamt", tag = "tables", params(Named, Force),
    request_body = Vec<Eam>, responses((status = OK, description = "They are in force", body = Done)))]
async fn eamt_replace(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(entries): Sent<Vec<Exactly<Eam>>>,
) -> Result<Json<Done>, Error> {
    let new = move |Eam { ipv6, ipv4 }| Change::EamtAdd { ipv6, ipv4, force };
    replace(&shared, named, Change::EamtFlush, values(entries).into_iter().map(new)).await
}

/// Which mapping.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichEam {
    /// Its IPv6 side; one side is enough.
    #[param(value_type = Option<Prefix6>)]
    ipv6: Option<Ipv6Net>,
    /// Its IPv4 side.
    #[param(value_type = Option<Prefix4>)]
    ipv4: Option<Ipv4Net>,
    /// All of them instead.
    #[serde(default)]
    all: bool,
}

/// Removes the mapping that has these prefixes, or all (SIIT).
#[utoipa::path(delete, path = "/v1/instances/{translator}/{name}/eamt", tag = "tables", params(Named, WhichEam),
    responses((status = OK, description = "It is gone", body = Done)))]
async fn eamt_remove(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(WhichEam { ipv6, ipv4, all }): Asked<WhichEam>,
) -> Result<Json<Done>, Error> {
    let one = (ipv6.is_some() || ipv4.is_some()).then_some(Change::EamtRemove { ipv6, ipv4 });
    just(&shared, named, removal(one, all, Change::EamtFlush)?).await
}

/// Adds a prefix that pool6 must not translate (SIIT).
#[utoipa::path(post, path = "/v1/instances/{translator}/{name}/denylist4", tag = "tables", params(Named, Force),
    request_body = Denied, responses((status = OK, description = "It is in force", body = Done)))]
async fn denylist4_add(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(Exactly(Denied { prefix })): Sent<Exactly<Denied>>,
) -> Result<Json<Done>, Error> {
    just(&shared, named, Change::Denylist4Add { prefix, force }).await
}

/// Puts these prefixes in the place of all that there are (SIIT).
#[utoipa::path(put, path = "/v1/instances/{translator}/{name}/denylist4", tag = "tables", params(Named, Force),
    request_body = Vec<Denied>, responses((status = OK, description = "They are in force", body = Done)))]
async fn denylist4_replace(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(entries): Sent<Vec<Exactly<Denied>>>,
) -> Result<Json<Done>, Error> {
    let new = move |Denied { prefix }| Change::Denylist4Add { prefix, force };
    replace(&shared, named, Change::Denylist4Flush, values(entries).into_iter().map(new)).await
}

/// Which prefix.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichDenied {
    /// This one.
    #[param(value_type = Option<Prefix4>)]
    prefix: Option<Ipv4Net>,
    /// All of them instead.
    #[serde(default)]
    all: bool,
}

/// Removes a prefix, or all (SIIT).
#[utoipa::path(delete, path = "/v1/instances/{translator}/{name}/denylist4", tag = "tables", params(Named, WhichDenied),
    responses((status = OK, description = "It is gone", body = Done)))]
async fn denylist4_remove(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(WhichDenied { prefix, all }): Asked<WhichDenied>,
) -> Result<Json<Done>, Error> {
    let one = prefix.map(|prefix| Change::Denylist4Remove { prefix });
    just(&shared, named, removal(one, all, Change::Denylist4Flush)?).await
}

/// Adds transport addresses (NAT64).
#[utoipa::path(post, path = "/v1/instances/{translator}/{name}/pool4", tag = "tables", params(Named, Force),
    request_body = NewPool4, responses((status = OK, description = "They are in force", body = Done)))]
async fn pool4_add(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(Exactly(new)): Sent<Exactly<NewPool4>>,
) -> Result<Json<Done>, Error> {
    just(&shared, named, new.change(force)).await
}

/// Puts these transport addresses in the place of all that there are (NAT64). Flows and static BIB entries whose transport address
/// is among them stay.
#[utoipa::path(put, path = "/v1/instances/{translator}/{name}/pool4", tag = "tables", params(Named, Force),
    request_body = Vec<NewPool4>, responses((status = OK, description = "They are in force", body = Done)))]
async fn pool4_replace(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(Force { force }): Asked<Force>,
    Sent(blocks): Sent<Vec<Exactly<NewPool4>>>,
) -> Result<Json<Done>, Error> {
    let app = Arc::clone(&shared);
    let work = async move {
        let blocks = values(blocks);
        let (config, at) = app.find(&named)?;
        let Kind::Nat64(nat64) = &config.instances[at].kind else { return Err(wrong_kind(Translator::Siit)) };
        let stays = |entry: &&BibEntry| blocks.iter().any(|new| pool4::holds(&new.block, entry));
        let kept: Vec<_> = nat64.bib.iter().filter(stays).map(BibPair::from).map(Change::BibAdd).collect();
        let new = blocks.iter().map(|new| new.change(force)).chain(kept);
        replaced(app, &named, Change::Pool4Flush, new).await
    };
    in_turn(&shared, work).await.map(|()| Json(Done {}))
}

/// Which transport addresses.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichPool4 {
    /// Their addresses.
    #[param(value_type = Option<Prefix4>)]
    prefix: Option<Ipv4Net>,
    /// Their protocol; it goes with the prefix.
    protocol: Option<Protocol>,
    /// First port or identifier.
    #[serde(default)]
    first_port: u16,
    /// Last port or identifier; absent: 65535.
    #[serde(default = "last_port")]
    #[param(default = 65535)]
    last_port: u16,
    /// Firewall mark of their set.
    #[serde(default)]
    mark: u32,
    /// Leave static BIB entries that another mark's set still has.
    #[serde(default)]
    quick: bool,
    /// All of them instead.
    #[serde(default)]
    all: bool,
}

fn last_port() -> u16 {
    u16::MAX
}

/// Removes transport addresses with all that uses them, or all (NAT64).
#[utoipa::path(delete, path = "/v1/instances/{translator}/{name}/pool4", tag = "tables", params(Named, WhichPool4),
    responses((status = OK, description = "They are gone", body = Done)))]
async fn pool4_remove(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(which): Asked<WhichPool4>,
) -> Result<Json<Done>, Error> {
    let WhichPool4 { prefix, protocol, first_port, last_port, mark, quick, all } = which;
    let one = match (prefix, protocol) {
        (Some(prefix), Some(protocol)) => {
            let block = Pool4Block { mark, protocol, prefix, first_port, last_port };
            Some(Change::Pool4Remove { block, quick })
        }
        (None, None) => None,
        (Some(_), None) => return Err(Error::unreadable(&"a prefix goes with its protocol").at("protocol")),
        (None, Some(_)) => return Err(Error::unreadable(&"a protocol goes with its prefix").at("prefix")),
    };
    just(&shared, named, removal(one, all, Change::Pool4Flush)?).await
}

/// Makes a static BIB entry (NAT64).
#[utoipa::path(post, path = "/v1/instances/{translator}/{name}/bib", tag = "tables", params(Named),
    request_body = BibPair, responses((status = OK, description = "It is in force", body = Done)))]
async fn bib_add(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Sent(Exactly(pair)): Sent<Exactly<BibPair>>,
) -> Result<Json<Done>, Error> {
    just(&shared, named, Change::BibAdd(pair)).await
}

/// Which BIB entry; one of its transport addresses is enough.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichBib {
    /// Its table.
    #[serde(default)]
    protocol: Protocol,
    /// The client's address.
    #[param(value_type = Option<Address6>)]
    ipv6: Option<Ipv6Addr>,
    /// The client's port or identifier.
    ipv6_port: Option<u16>,
    /// The address of its mask.
    #[param(value_type = Option<Address4>)]
    ipv4: Option<Ipv4Addr>,
    /// The port or identifier of its mask.
    ipv4_port: Option<u16>,
}

/// Removes a BIB entry and its sessions, also one that traffic made (NAT64).
#[utoipa::path(delete, path = "/v1/instances/{translator}/{name}/bib", tag = "tables", params(Named, WhichBib),
    responses((status = OK, description = "It is gone", body = Done)))]
async fn bib_remove(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    Asked(WhichBib { protocol, ipv6, ipv6_port, ipv4, ipv4_port }): Asked<WhichBib>,
) -> Result<Json<Done>, Error> {
    let half = |at: &str| Err(Error::unreadable(&"an address goes with its port").at(at));
    let ipv6 = match (ipv6, ipv6_port) {
        (Some(address), Some(port)) => Some(Transport6 { address, port }),
        (None, None) => None,
        (Some(_), None) => return half("ipv6-port"),
        (None, Some(_)) => return half("ipv6"),
    };
    let ipv4 = match (ipv4, ipv4_port) {
        (Some(address), Some(port)) => Some(Transport4 { address, port }),
        (None, None) => None,
        (Some(_), None) => return half("ipv4-port"),
        (None, Some(_)) => return half("ipv4"),
    };
    if ipv6.is_none() && ipv4.is_none() {
        return Err(Error::unreadable(&"the query names no entry").at("ipv6"));
    }
    just(&shared, named, Change::BibRemove { protocol, ipv6, ipv4 }).await
}
