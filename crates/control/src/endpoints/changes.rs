//! Changes of an instance, all of them or none.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::api::{BibPair, Change, Changes, Done};
use crate::edit::{self, Place};
use crate::error::Error;
use crate::extract::{Named, Sent};
use crate::read;
use crate::routes::Routes;
use crate::server::{App, in_turn, walk};

pub(super) fn add(routes: Routes) -> Routes {
    routes.add(__path_changes, changes)
}

/// Makes changes of one instance, all of them or none; answered when they hold in the data path.
#[utoipa::path(post, path = "/v1/changes", tag = "instances", request_body = Changes, responses(
    (status = OK, description = "They are in force", body = Done)
))]
async fn changes(State(shared): State<App>, Sent(changes): Sent<Changes>) -> Result<Json<Done>, Error> {
    let place: Place = |at| Some(format!("changes[{at}]"));
    in_turn(&shared, make(Arc::clone(&shared), changes, place)).await.map(|()| Json(Done {}))
}

/// Whether checks are skipped.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Force {
    /// Skip the checks that only warn of what is seldom meant.
    #[serde(default)]
    pub(super) force: bool,
}

/// Makes one change that is a request of its own.
pub(super) async fn just(shared: &App, named: Named, change: Change) -> Result<Json<Done>, Error> {
    let work = make(Arc::clone(shared), named.changes(vec![change]), |_| None);
    in_turn(shared, work).await.map(|()| Json(Done {}))
}

async fn make(shared: App, changes: Changes, place: Place) -> Result<(), Error> {
    let made = |pair| Changes { changes: vec![Change::BibAdd(pair)], ..changes.clone() };
    match changes.changes.as_slice() {
        // Entries that traffic made are no part of the configuration: one is made static first, which keeps it, and then goes.
        [Change::BibRemove { protocol, ipv6, ipv4 }] => {
            let view = shared.stateful(&Named::of(&changes))?;
            let (protocol, ipv6, ipv4) = (*protocol, *ipv6, *ipv4);
            let found = walk(move || read::bib_entries_with(&view, protocol, ipv6, ipv4)).await?;
            let is_meant = |pair: &&BibPair| {
                ipv6.is_none_or(|taddr| taddr == pair.ipv6) && ipv4.is_none_or(|taddr| taddr == pair.ipv4)
            };
            if let Some(pair) = found.iter().find(is_meant) {
                shared.apply(made(*pair), place).await?;
            }
        }
        [Change::BibAdd(pair)] => {
            let view = shared.stateful(&Named::of(&changes))?;
            let new = *pair;
            let found =
                walk(move || read::bib_entries_with(&view, new.protocol, Some(new.ipv6), Some(new.ipv4)))
                    .await?;
            // What is in no pool4 is refused for that first, by the change itself.
            let in_pool4 = || shared.in_pool4(&Named::of(&changes), pair);
            if let Some(other) = found.iter().find(|other| *other != pair)
                && in_pool4()?
            {
                return Err(edit::bib_collision(&edit::bib_entry(*pair), &edit::bib_entry(*other)));
            }
        }
        _needs_no_state => {}
    }
    shared.apply(changes, place).await
}
