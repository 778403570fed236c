//! Every reason for which a packet is not passed on, joined into one list with one counter each.

use core::fmt;

use xlat_nat64::{FragmentRefusal, Refusal as StateRefusal};
use xlat_packet::Malformed;
use xlat_translate::refusal::{Refusal as RewriteRefusal, Why};
use xlat_translate::siit::Untranslatable;

xlat_packet::reasons! {
    /// Why the pipeline itself does not pass a packet on.
    pub enum Pipeline {
        NotIp: "not-ip", "", "RFC 791 3.1, RFC 8200 3",
            "the packet is neither IPv4 nor IPv6";
        NoInstance: "no-instance", "", "house",
            "there is no translator that could take the packet";
        Looped: "looped", "", "house",
            "the packet came out of the translator's device and was routed back into it";
        Disabled: "disabled", "JSTAT_XLATOR_DISABLED", "house",
            "the instance is switched off by manually-enabled";
        Pool6Mismatch: "pool6-mismatch", "JSTAT_POOL6_MISMATCH", "RFC 6146 3.5",
            "the IPv6 destination is not in pool6";
        HairpinLoop: "hairpin-loop", "JSTAT_HAIRPIN_LOOP", "RFC 6146 3.5",
            "the IPv6 source is in pool6: the packet would go round for ever";
        UnknownTransport: "unknown-transport", "JSTAT_UNKNOWN_L4_PROTO", "RFC 6146 3.5",
            "stateful translation knows TCP, UDP and ICMP only";
        UnknownInnerTransport: "unknown-inner-transport", "JSTAT_UNKNOWN_PROTO_INNER", "RFC 6146 3.5",
            "an ICMP error about a protocol without state";
        IcmpType6: "icmpv6-not-echo-or-error", "JSTAT_UNKNOWN_ICMP6_TYPE", "RFC 6146 3.5.3",
            "an ICMPv6 message that is neither echo nor error";
        IcmpType4: "icmpv4-not-echo-or-error", "JSTAT_UNKNOWN_ICMP4_TYPE", "RFC 6146 3.5.3",
            "an ICMPv4 message that is neither echo nor error";
        Icmpv6Info: "icmpv6-info-filtered", "JSTAT_ICMP6_FILTER", "RFC 6146 3.5.3",
            "ICMPv6 echo is dropped by drop-icmpv6-info";
        FragmentHeld: "fragment-held", "", "RFC 6146 3.4",
            "a fragment waits for others of its datagram; no loss";
        SegmentationFailed: "segmentation-failed", "", "house",
            "an aggregate whose offload state makes no sense";
    }
}

/// A reason: whose rule it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The packet cannot be read.
    Malformed(Malformed),
    /// The rules for rewriting one packet.
    Rewrite(RewriteRefusal),
    /// An address without translation.
    Address(Untranslatable),
    /// NAT64 state.
    State(StateRefusal),
    /// Virtual reassembly.
    Fragment(FragmentRefusal),
    /// The pipeline.
    Pipeline(Pipeline),
}

/// Runs one expression on whichever reason it is.
macro_rules! each {
    ($reason:expr, $inner:ident => $expression:expr) => {
        match $reason {
            Reason::Malformed($inner) => $expression,
            Reason::Rewrite($inner) => $expression,
            Reason::Address($inner) => $expression,
            Reason::State($inner) => $expression,
            Reason::Fragment($inner) => $expression,
            Reason::Pipeline($inner) => $expression,
        }
    };
}

const REWRITE_AT: usize = Malformed::ALL.len();
const ADDRESS_AT: usize = REWRITE_AT + RewriteRefusal::ALL.len();
const STATE_AT: usize = ADDRESS_AT + Untranslatable::ALL.len();
const FRAGMENT_AT: usize = STATE_AT + StateRefusal::ALL.len();
const PIPELINE_AT: usize = FRAGMENT_AT + FragmentRefusal::ALL.len();

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = PIPELINE_AT + Pipeline::ALL.len();

    /// Every reason, in the order of its counter.
    pub fn all() -> impl Iterator<Item = Self> {
        let malformed = Malformed::ALL.iter().copied().map(Self::Malformed);
        let rewrite = RewriteRefusal::ALL.iter().copied().map(Self::Rewrite);
        let address = Untranslatable::ALL.iter().copied().map(Self::Address);
        let state = StateRefusal::ALL.iter().copied().map(Self::State);
        let fragment = FragmentRefusal::ALL.iter().copied().map(Self::Fragment);
        let pipeline = Pipeline::ALL.iter().copied().map(Self::Pipeline);
        malformed.chain(rewrite).chain(address).chain(state).chain(fragment).chain(pipeline)
    }

    /// Position of its counter, below [`Self::COUNT`].
    pub const fn index(self) -> usize {
        match self {
            Self::Malformed(reason) => reason.index(),
            Self::Rewrite(reason) => REWRITE_AT + reason.index(),
            Self::Address(reason) => ADDRESS_AT + reason.index(),
            Self::State(reason) => STATE_AT + reason.index(),
            Self::Fragment(reason) => FRAGMENT_AT + reason.index(),
            Self::Pipeline(reason) => PIPELINE_AT + reason.index(),
        }
    }

    /// Stable name, in lower case with hyphens.
    pub fn name(self) -> &'static str {
        each!(self, reason => reason.name())
    }

    /// The counter under which Jool's users know it, or an empty string.
    pub fn counter(self) -> &'static str {
        each!(self, reason => reason.counter())
    }

    /// RFC and section.
    pub fn source(self) -> &'static str {
        each!(self, reason => reason.source())
    }

    /// One line for a person.
    pub fn explanation(self) -> &'static str {
        each!(self, reason => reason.explanation())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        match why {
            Why::Malformed(reason) => Self::Malformed(reason),
            Why::Refusal(reason) => Self::Rewrite(reason),
        }
    }
}

/// What became of a packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Translated and sent, as one packet or several.
    Translated,
    /// Kept for later: a fragment, a stored SYN.
    Held(Reason),
    /// Ended here; an ICMP error may have been sent.
    Dropped(Reason),
    /// None of our business. A packet taken up at an interface's ingress goes back to the host; on the routed path there
    /// is nobody to give it to, so it ends here like a dropped one.
    Returned(Reason),
}

impl Verdict {
    /// The reason, unless the packet was translated.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Translated => None,
            Self::Held(reason) | Self::Dropped(reason) | Self::Returned(reason) => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut names = std::collections::HashSet::new();
        for (index, reason) in Reason::all().enumerate() {
            assert_eq!(reason.index(), index);
            assert!(names.insert(reason.name()), "{reason} twice");
            assert!(!reason.explanation().is_empty() && !reason.source().is_empty());
        }
        assert_eq!(names.len(), Reason::COUNT);
    }
}
