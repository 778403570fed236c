//! What this network namespace routes by besides the destination: then a way that was found for one packet need not hold
//! for another one to the same place.

use std::io;

use futures_util::TryStreamExt as _;
use rtnetlink::IpVersion;
use rtnetlink::packet_route::rule::RuleAttribute;

/// What routing rules look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutedBy {
    /// The source address.
    pub source: bool,
    /// Firewall mark, protocol, ports or TOS.
    pub packet: bool,
}

/// What the routing rules of both families look at. Needs a tokio runtime; no privilege.
pub async fn routed_by() -> io::Result<RoutedBy> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let task = tokio::spawn(connection);
    let mut found = RoutedBy::default();
    for version in [IpVersion::V4, IpVersion::V6] {
        let mut rules = handle.rule().get(version).execute();
        while let Ok(Some(rule)) = rules.try_next().await {
            found.source |= rule.header.src_len != 0;
            found.packet |= rule.header.tos != 0 || rule.attributes.iter().any(is_of_packet);
        }
    }
    task.abort();
    Ok(found)
}

fn is_of_packet(attribute: &RuleAttribute) -> bool {
    matches!(
        attribute,
        RuleAttribute::FwMark(_)
            | RuleAttribute::IpProtocol(_)
            | RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_)
    )
}
