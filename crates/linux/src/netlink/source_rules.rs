//! Whether this network namespace routes by source address: then a way that was found for one source need not hold for
//! another.

use std::io;

use futures_util::TryStreamExt as _;
use rtnetlink::IpVersion;

/// True if a routing rule of either family asks for a source address. Needs a tokio runtime; no privilege.
pub async fn has_source_rules() -> io::Result<bool> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let task = tokio::spawn(connection);
    let mut found = false;
    for version in [IpVersion::V4, IpVersion::V6] {
        let mut rules = handle.rule().get(version).execute();
        while let Ok(Some(rule)) = rules.try_next().await {
            found |= rule.header.src_len != 0;
        }
    }
    task.abort();
    Ok(found)
}
