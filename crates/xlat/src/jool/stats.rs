//! The counters under their Jool names (cli 5): order and meaning. Ours are finer; several may add up to one of these, and some
//! of these count what cannot happen here.

use xlat_control::api::Counter;

use super::command::Format;

/// Name and meaning, in the order of display.
#[rustfmt::skip]
const COUNTERS: &[(&str, &str)] = &[
    ("JSTAT_RECEIVED6", "IPv6 packets handed to the instance"),
    ("JSTAT_RECEIVED4", "IPv4 packets handed to the instance"),
    ("JSTAT_SUCCESS", "Packets translated (and handed to output)"),
    ("JSTAT_BIB_ENTRIES", "Gauge: BIB entries now"),
    ("JSTAT_SESSIONS", "Gauge: sessions now"),
    ("JSTAT_ENOMEM", "Allocation failures"),
    ("JSTAT_XLATOR_DISABLED", "Returned: manually-enabled is false"),
    ("JSTAT_POOL6_UNSET", "Returned: NAT64 without pool6"),
    ("JSTAT_SKB_SHARED", "Dropped: packet buffer shared"),
    ("JSTAT_L3HDR_OFFSET", "Dropped: inconsistent buffer offsets"),
    ("JSTAT_SKB_TRUNCATED", "Dropped: packet ends inside a header"),
    ("JSTAT_HDR6", "Dropped: bogus IPv6 header (length, version, inner not first fragment, nested error)"),
    ("JSTAT_HDR4", "Dropped: bogus IPv4 header (inner version/IHL/length/fragment)"),
    ("JSTAT_UNKNOWN_L4_PROTO", "NAT64, returned: protocol is not TCP/UDP/ICMP"),
    ("JSTAT_UNKNOWN_ICMP6_TYPE", "ICMPv6 type/code with no counterpart (SIIT: dropped; NAT64: returned if it is neither echo nor error)"),
    ("JSTAT_UNKNOWN_ICMP4_TYPE", "ICMPv4 type/code with no counterpart (SIIT: dropped; NAT64: returned if it is neither echo nor error)"),
    ("JSTAT_DOUBLE_ICMP6_ERROR", "Dropped: ICMPv6 error inside ICMPv6 error"),
    ("JSTAT_DOUBLE_ICMP4_ERROR", "Dropped: ICMPv4 error inside ICMPv4 error"),
    ("JSTAT_UNKNOWN_PROTO_INNER", "NAT64, returned: error about a packet of unknown protocol"),
    ("JSTAT_HAIRPIN_LOOP", "NAT64, dropped: IPv6 source inside pool6"),
    ("JSTAT_POOL6_MISMATCH", "NAT64, returned: IPv6 destination outside pool6"),
    ("JSTAT_POOL4_MISMATCH", "NAT64, returned: IPv4 destination not in pool4"),
    ("JSTAT_ICMP6_FILTER", "Dropped by drop-icmpv6-info"),
    ("JSTAT_UNTRANSLATABLE_DST6", "Pool6 could not be removed from the destination"),
    ("JSTAT_UNTRANSLATABLE_DST4", "Pool6 could not be added to the source"),
    ("JSTAT_6056_F", "Dropped: hash F() failed"),
    ("JSTAT_MASK_DOMAIN_NOT_FOUND", "Dropped: no pool4 set for this mark and protocol"),
    ("JSTAT_BIB6_NOT_FOUND", "Dropped: no BIB entry and none could be made (UDP/ICMP)"),
    ("JSTAT_BIB4_NOT_FOUND", "Returned: no BIB entry for an IPv4 packet"),
    ("JSTAT_SESSION_NOT_FOUND", "Returned: ICMP error without BIB entry"),
    ("JSTAT_ADF", "Dropped by address-dependent-filtering"),
    ("JSTAT_V4_SYN", "Dropped by drop-externally-initiated-tcp"),
    ("JSTAT_SYN6_EXPECTED", "Dropped: first IPv6 TCP packet is not SYN"),
    ("JSTAT_SYN4_EXPECTED", "Dropped: first IPv4 TCP packet is not SYN"),
    ("JSTAT_TYPE1PKT", "IPv4 SYNs stored (no BIB entry); never decremented"),
    ("JSTAT_TYPE2PKT", "IPv4 SYNs stored (BIB entry exists, filtering on); never decremented"),
    ("JSTAT_SO_EXISTS", "Dropped: retry of a stored SYN"),
    ("JSTAT_SO_FULL", "Dropped: maximum-simultaneous-opens reached"),
    ("JSTAT64_SRC", "SIIT, IPv6 to IPv4, returned: source untranslatable"),
    ("JSTAT64_DST", "SIIT, IPv6 to IPv4, returned: destination untranslatable"),
    ("JSTAT64_PSKB_COPY", "Dropped: could not copy the packet"),
    ("JSTAT64_6791_ENOENT", "Dropped: no IPv4 address to source an ICMP error with"),
    ("JSTAT64_ICMP_CSUM", "Dropped: ICMPv6 error with wrong checksum"),
    ("JSTAT64_UNTRANSLATABLE_PARAM_PROB_PTR", "Dropped: parameter problem pointer has no counterpart"),
    ("JSTAT64_TTL", "Dropped: hop limit 0 or 1"),
    ("JSTAT64_FRAGMENTED_ICMP", "Dropped: fragmented ICMPv6"),
    ("JSTAT64_2XFRAG", "Dropped: two Fragment headers"),
    ("JSTAT64_FRAG_THEN_EXT", "Dropped: extension header after the Fragment header"),
    ("JSTAT64_SEGMENTS_LEFT", "Dropped: Routing header with segments left"),
    ("JSTAT46_SRC", "SIIT IPv4 to IPv6, returned: source untranslatable"),
    ("JSTAT46_DST", "SIIT IPv4 to IPv6, returned: destination untranslatable"),
    ("JSTAT46_PSKB_COPY", "Dropped: could not copy the packet"),
    ("JSTAT46_6791_ENOENT", "Dropped: no IPv6 address to source an ICMP error with"),
    ("JSTAT46_ICMP_CSUM", "Dropped: ICMPv4 error with wrong checksum"),
    ("JSTAT46_UNTRANSLATABLE_PARAM_PROBLEM_PTR", "Dropped: pointer has no counterpart"),
    ("JSTAT46_TTL", "Dropped: TTL 0 or 1"),
    ("JSTAT46_FRAGMENTED_ICMP", "Dropped: fragmented ICMPv4"),
    ("JSTAT46_SRC_ROUTE", "Dropped: source route not exhausted"),
    ("JSTAT46_FRAGMENTED_ZERO_CSUM", "Dropped: UDP checksum zero, cannot or may not compute"),
    ("JSTAT46_BAD_MTU", "Dropped: outgoing IPv6 MTU below 1280"),
    ("JSTAT_FAILED_ROUTES", "Returned: no route for the translated packet"),
    ("JSTAT_PKT_TOO_BIG", "Dropped: translated packet exceeds next hop MTU"),
    ("JSTAT_DST_OUTPUT", "Output function failed after translation"),
    ("JSTAT_ICMP6ERR_SUCCESS", "ICMPv6 errors originated by the translator, sent"),
    ("JSTAT_ICMP6ERR_FAILURE", "ICMPv6 errors originated by the translator, could not be sent"),
    ("JSTAT_ICMP4ERR_SUCCESS", "ICMPv4 errors originated by the translator, sent"),
    ("JSTAT_ICMP4ERR_FAILURE", "ICMPv4 errors originated by the translator, could not be sent"),
    ("JSTAT_ICMPEXT_BIG", "Dropped: ICMP length field exceeds the payload"),
    ("JSTAT_JOOLD_EMPTY", "Sync: nothing to send"),
    ("JSTAT_JOOLD_TIMEOUT", "Sync: sent because ss-flush-deadline passed"),
    ("JSTAT_JOOLD_MISSING_ACK", "Sync: held, previous message not acknowledged"),
    ("JSTAT_JOOLD_AD_ONGOING", "Sync: sent, advertisement in progress"),
    ("JSTAT_JOOLD_PKT_FULL", "Sync: sent, message full"),
    ("JSTAT_JOOLD_QUEUING", "Sync: held, message not full"),
    ("JSTAT_JOOLD_SSS_QUEUED", "Sessions queued (counted even if then dropped)"),
    ("JSTAT_JOOLD_SSS_SENT", "Sessions sent"),
    ("JSTAT_JOOLD_SSS_RCVD", "Sessions received"),
    ("JSTAT_JOOLD_SSS_ENOSPC", "Sessions dropped, queue full"),
    ("JSTAT_JOOLD_PKT_SENT", "Session messages sent"),
    ("JSTAT_JOOLD_PKT_RCVD", "Session messages received"),
    ("JSTAT_JOOLD_ADS", "Advertisements queued"),
    ("JSTAT_JOOLD_ACKS", "Acknowledgements received"),
    ("JSTAT_UNKNOWN", "Dropped: internal error; also NAT64 TCP when pool4 is exhausted"),
];

/// The whole of `stats display`.
pub(super) fn stats(counters: &[Counter], format: Format, all: bool, explain: bool) -> String {
    let mut text = String::new();
    if format.csv && !format.no_headers {
        text.push_str(if explain { "Stat,Value,Explanation\n" } else { "Stat,Value\n" });
    }
    for (name, meaning) in COUNTERS {
        let value: u64 =
            counters.iter().filter(|counter| counter.jool == *name).map(|counter| counter.value).sum();
        if value == 0 && !all {
            continue;
        }
        text.push_str(&match (format.csv, explain) {
            (true, true) => format!("{name},{value},\"{meaning}\"\n"),
            (true, false) => format!("{name},{value}\n"),
            (false, true) => format!("{name}: {value}\n{meaning}.\n\n"),
            (false, false) => format!("{name}: {value}\n"),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(jool: &str, value: u64) -> Counter {
        let (name, explanation, source) = Default::default();
        Counter { name, jool: jool.to_owned(), value, explanation, source }
    }

    #[test]
    fn counters_add_up_and_zeroes_are_skipped() {
        let counters = [
            counter("JSTAT64_SRC", 2),
            counter("", 9),
            counter("JSTAT_RECEIVED4", 7),
            counter("JSTAT64_SRC", 3),
        ];
        let human = Format::default();
        assert_eq!(stats(&counters, human, false, false), "JSTAT_RECEIVED4: 7\nJSTAT64_SRC: 5\n");
        assert_eq!(stats(&counters, human, true, false).lines().count(), 83);
        let csv = Format { csv: true, ..human };
        assert!(
            stats(&counters, csv, false, true)
                .starts_with("Stat,Value,Explanation\nJSTAT_RECEIVED4,7,\"IPv4 packets")
        );
        assert!(stats(&counters, csv, false, false).starts_with("Stat,Value\nJSTAT_RECEIVED4,7\n"));
        assert_eq!(stats(&[], Format { no_headers: true, ..csv }, false, false), "");
    }

    /// Every counter that the engine says to be Jool's is in the list.
    #[test]
    fn no_counter_is_lost() {
        for reason in
            xlat_engine::Reason::all().map(|reason| reason.counter()).filter(|name| !name.is_empty())
        {
            assert!(COUNTERS.iter().any(|(name, _)| *name == reason), "{reason}");
        }
    }
}
