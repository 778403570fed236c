//! Reading a table in parts: how many rows, and where to go on after an interruption. The last row of each step carries a cursor,
//! an opaque string; whoever was interrupted asks again for what comes after the last one that it saw.

use std::hash::{BuildHasher as _, DefaultHasher, Hash, Hasher as _, RandomState};
use std::sync::{Arc, LazyLock};

use axum::response::Response;
use serde::{Deserialize, Serialize};
use xlat_engine::View;
use xlat_nat64::Cursor;

use crate::error::{Blame, Error, errno};
use crate::read::{self, STEP};
use crate::server::walk;

/// A row, and where to go on behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Marked<R> {
    /// The row.
    #[serde(flatten)]
    pub row: R,
    /// For `after`: what comes behind this row. Some hundred rows apart, and on the last row where `limit` ended the answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cursor: Option<String>,
}

/// Lines out of rows: the last one is marked with `cursor`.
pub(crate) fn marked<R>(rows: impl IntoIterator<Item = R>, cursor: Option<&str>) -> Vec<Marked<R>> {
    let mut rows: Vec<_> = rows.into_iter().map(|row| Marked { row, cursor: None }).collect();
    if let Some(last) = rows.last_mut() {
        last.cursor = cursor.map(str::to_owned);
    }
    rows
}

/// Which part of a table that the configuration has is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<u64>,
}

/// Answers with those of a table's `len` rows that are wanted. The cursor is the place of a row and its hash: where the table has changed, the row is looked
/// for, so that nothing is missed as long as it is there.
pub(crate) async fn table<R, F, W>(len: usize, row: F, part: &Part, is_wanted: W) -> Result<Response, Error>
where
    R: Serialize + Hash + 'static,
    F: Fn(usize) -> Option<R> + Send + Sync + 'static,
    W: Fn(&R) -> bool + Send + 'static,
{
    let row = Arc::new(row);
    let mut at = match &part.after {
        None => 0,
        Some(cursor) => {
            let (place, hash) = numbers(cursor).ok_or_else(malformed)?;
            let place = usize::try_from(place).map_err(|_| malformed())?;
            let rows = Arc::clone(&row);
            // It may be a cursor of no row at all, and the table large.
            let found = walk(move || {
                let is_it = |at: &usize| rows(*at).is_some_and(|row| hash_of(&row) == hash);
                Some(place).filter(is_it).or_else(|| (0..len).find(is_it))
            });
            found.await?.ok_or_else(gone)? + 1
        }
    };
    let mut left = part.limit.unwrap_or(u64::MAX);
    Ok(read::lines(move || {
        // So many are looked at in one go, however few of them are wanted.
        let end = at.saturating_add(STEP).min(len);
        if at >= end || left == 0 {
            return None;
        }
        let (mut rows, mut last) = (Vec::new(), 0);
        while at < end && left > 0 {
            let next = row(at)?;
            if is_wanted(&next) {
                (last, left) = (at, left - 1);
                rows.push(next);
            }
            at += 1;
        }
        let behind = rows.last().filter(|_| at < len);
        let cursor = behind.map(|behind| format!("{last:x}.{:x}", hash_of(behind)));
        Some(marked(rows, cursor.as_deref()))
    }))
}

fn hash_of(row: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.hash(&mut hasher);
    hasher.finish()
}

/// The cursor of a walk over state, as a client gets it.
pub(crate) fn token(view: &View, cursor: Cursor) -> String {
    let (shard, slot) = cursor.numbers();
    format!("{:x}.{:x}", identity(view), (shard as u64) << 32 | u64::from(slot))
}

/// The cursor that a client gives back.
pub(crate) fn cursor(view: &View, token: Option<&str>) -> Result<Cursor, Error> {
    let Some(token) = token else { return Ok(Cursor::default()) };
    let (whose, at) = numbers(token).ok_or_else(malformed)?;
    if whose != identity(view) {
        return Err(gone());
    }
    let shard = usize::try_from(at >> 32).map_err(|_| malformed())?;
    Ok(Cursor::from_numbers(shard, at as u32))
}

/// Tells the tables of this instance, in this process, from all others.
fn identity(view: &View) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(view.identity())
}

fn numbers(token: &str) -> Option<(u64, u64)> {
    let (first, second) = token.split_once('.')?;
    Some((u64::from_str_radix(first, 16).ok()?, u64::from_str_radix(second, 16).ok()?))
}

fn malformed() -> Error {
    Error::unreadable(&"this is no cursor of this table").at("after")
}

fn gone() -> Error {
    let what = "what the cursor stands behind is no more";
    Error { whose: Blame::Client, errno: errno::ESTALE, ..Error::invalid(what) }
        .at("after")
        .with_help("read the table from its beginning")
}
