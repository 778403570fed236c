//! Looking ahead: reading what a batch of packets is about to need, all of it side by side. One flow in millions is in
//! no cache; waiting for main memory twice per packet, one after the other, costs more than all else together, while
//! the same reads for many packets overlap. Only hints: nothing is decided and nothing changes here.

use core::hint::black_box;

use crate::policy::Policy;
use crate::slab::NIL;
use crate::tables::Tables;
use crate::types::{Protocol, Transport4, Transport6};

/// Packets that are looked at together.
const TOGETHER: usize = 64;

/// Sessions that surely fit the caches: with fewer it is not worth while.
const FEW: u64 = 16_384;

/// What a packet will be looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// A packet from an IPv6 client, for [`Tables::outbound`].
    From6(Protocol, Transport6),
    /// A packet to the mask of one, for [`Tables::inbound`].
    To4(Protocol, Transport4),
}

/// Where a record may be: shard, and number in it (or [`NIL`]).
type Spot = (usize, u32);

impl Tables {
    /// Reads what the tables have about `coming`, so that it is in the cache when the packets are processed.
    pub fn look_ahead(&self, policy: &Policy, coming: &[Coming]) {
        if self.shared.usage.sessions() < FEW {
            return;
        }
        // Each loop waits for what the one before has read; within a loop nothing waits for anything.
        for coming in coming.chunks(TOGETHER) {
            let mut hashes = [(0, 0); TOGETHER];
            for (hash, coming) in hashes.iter_mut().zip(coming) {
                if let Coming::From6(_, client) = coming {
                    let client_hash = self.shared.hasher.client(client.addr);
                    *hash = (client_hash, self.shared.hasher.with_port(client_hash, client.port));
                }
            }
            let mut spots = [(0, NIL); TOGETHER];
            for ((spot, hash), coming) in spots.iter_mut().zip(hashes).zip(coming) {
                *spot = self.spot(policy, coming, hash).unwrap_or((0, NIL));
            }
            let records = spots.iter().filter(|spot| spot.1 != NIL);
            black_box(records.fold(0, |sum, (at, bib)| sum ^ self.shards[*at].0.lock().records.touch(*bib)));
        }
    }

    /// The spot that an index or a port map names, right or not.
    fn spot(&self, policy: &Policy, coming: &Coming, (client, with_port): (u64, u64)) -> Option<Spot> {
        match *coming {
            Coming::From6(protocol, _) => {
                let at = self.place(client);
                self.shards[at].0.lock().guess(with_port, protocol).map(|bib| (at, bib))
            }
            Coming::To4(protocol, mask) => self.decode(policy.pool(protocol).owner(mask)?.get(mask.port)),
        }
    }
}
