//! What the tables tell the outside: creations and removals for the logs (RFC 6888 4), stored SYNs to be answered
//! and idle connections to be probed (RFC 6146 3.5.2.2).

use core::time::Duration;

use crate::tcp::TcpState;
use crate::types::{Protocol, Timer, Transport4, Transport6};

/// A BIB entry, for logs and displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BibInfo {
    /// Which BIB.
    pub protocol: Protocol,
    /// The IPv6 transport address.
    pub client: Transport6,
    /// The IPv4 transport address that stands for it.
    pub mask: Transport4,
    /// Made by the administrator: it never expires.
    pub is_static: bool,
    /// How many sessions hang from it.
    pub sessions: u32,
}

/// A session, for logs and displays. Its IPv6 destination is pool6 plus `remote`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Which session table.
    pub protocol: Protocol,
    /// The IPv6 client.
    pub client: Transport6,
    /// The client's mask.
    pub mask: Transport4,
    /// The IPv4 server; for ICMP its port is the mask's identifier.
    pub remote: Transport4,
    /// The TCP state; `None` for the other protocols.
    pub state: Option<TcpState>,
    /// Which lifetime the session is under.
    pub timer: Timer,
    /// Time left by the policy of the moment; the removal itself may come up to 1.5 seconds later. Of a promoted session
    /// it is the least that is known: the faster path may have seen packets since.
    pub expires_in: Duration,
    /// A faster path repeats it.
    pub promoted: bool,
}

/// Receiver of what happens to the tables. Every method does nothing unless overridden.
///
/// They are called while a part of the tables is locked: an implementation notes down what it needs and returns. It
/// must not call back into the same [`Tables`](crate::Tables), which would wait for itself.
pub trait Events {
    /// Traffic made a BIB entry.
    fn bib_created(&mut self, _entry: &BibInfo) {}
    /// A BIB entry went: expired, or no longer covered by the configuration.
    fn bib_removed(&mut self, _entry: &BibInfo) {}
    /// Traffic made a session. Precedes `bib_created` when both are new.
    fn session_created(&mut self, _session: &SessionInfo) {}
    /// A session went. Precedes `bib_removed` when both go.
    fn session_removed(&mut self, _session: &SessionInfo) {}
    /// Traffic made a session, changed its state, or keeps it alive: told where [`PolicyConfig::announce`] asks for it, of
    /// the latter only now and then. `expires_in` holds from now on.
    ///
    /// [`PolicyConfig::announce`]: crate::PolicyConfig::announce
    fn session_updated(&mut self, _session: &SessionInfo) {}
    /// Nobody claimed a stored SYN: answer its sender with ICMPv4 3/3 (ICMPv6 1/4 if the bytes are IPv6).
    fn stored_syn_expired(&mut self, _original: &[u8]) {}
    /// An established connection was silent for its lifetime: send the keepalive to the IPv6 client.
    fn probe(&mut self, _session: &SessionInfo) {}

    /// A session is worth being repeated by a faster path, for packets of the client with this firewall mark. `true` if
    /// that will be done. Told again about once a second while packets of the session still come this way: what the
    /// path has is to be replaced then.
    fn promote(&mut self, _session: &SessionInfo, _mark: u32) -> bool {
        false
    }
    /// A promoted session is to be taken back: it ends, or its packets have to be seen here.
    fn demote(&mut self, _session: &SessionInfo) {}
    /// A promoted session would end now if the faster path has not seen anything of it: to be answered by
    /// [`Tables::used`](crate::Tables::used) within two seconds. It is asked three times.
    fn idle(&mut self, _session: &SessionInfo) {}
    /// A mask has a BIB entry now, or (`false`) has none any more.
    fn port(&mut self, _protocol: Protocol, _mask: Transport4, _taken: bool) {}
}

/// Ignores everything.
impl Events for () {}
