//! Why the tables refuse a packet, by name. "Returned" ones are not ours and go back to the kernel; the rest are
//! drops. The engine decides which ICMP error, if any, answers each (RFC 6146 3.5).

xlat_packet::reasons! {
    /// Why a packet got no mapping.
    pub enum Refusal {
        Pool4Mismatch: "pool4-mismatch", "JSTAT_POOL4_MISMATCH", "RFC 6146 3.5",
            "the IPv4 destination transport address is not in pool4 for its protocol";
        MaskDomainNotFound: "mask-domain-not-found", "JSTAT_MASK_DOMAIN_NOT_FOUND", "RFC 6146 3.5.1.1",
            "pool4 has no set for the packet's mark and protocol";
        PoolExhausted: "pool4-exhausted", "JSTAT_BIB6_NOT_FOUND", "RFC 6146 3.5.1.1",
            "every port (or identifier) of the pool4 set is taken";
        Bib4NotFound: "bib4-not-found", "JSTAT_BIB4_NOT_FOUND", "RFC 6146 3.5.1.2",
            "an IPv4 packet to pool4 for which there is no BIB entry";
        SessionNotFound: "session-not-found", "JSTAT_SESSION_NOT_FOUND", "RFC 6146 3.5.3",
            "an ICMP error about a flow that has no BIB entry";
        AddressDependentFiltering: "address-dependent-filtering", "JSTAT_ADF", "RFC 6146 3.5.1.2",
            "filtered: the client has no session with the IPv4 sender's address";
        V4Syn: "v4-syn", "JSTAT_V4_SYN", "RFC 6146 3.5.2.2",
            "TCP connections from the IPv4 side are dropped by drop-externally-initiated-tcp";
        Syn6Expected: "syn6-expected", "JSTAT_SYN6_EXPECTED", "RFC 6146 3.5.2.2",
            "the first TCP packet of an IPv6 transport address is not a SYN";
        Syn4Expected: "syn4-expected", "JSTAT_SYN4_EXPECTED", "RFC 6146 3.5.2.2",
            "the first TCP packet of an IPv4 transport address is not a SYN";
        SynStored: "syn-stored", "JSTAT_TYPE1PKT", "RFC 6146 3.5.2.2",
            "an IPv4 SYN without BIB entry is held for six seconds as a possible simultaneous open";
        SynStoredFiltered: "syn-stored-filtered", "JSTAT_TYPE2PKT", "RFC 6146 3.5.2.2",
            "an IPv4 SYN to a BIB entry under address-dependent filtering is held for six seconds";
        SoExists: "simultaneous-open-exists", "JSTAT_SO_EXISTS", "RFC 6146 3.5.2.2",
            "an IPv4 TCP packet of a connection whose SYN is already being held";
        SoFull: "simultaneous-open-full", "JSTAT_SO_FULL", "RFC 6146 5.3",
            "an IPv4 SYN would have to be held, but maximum-simultaneous-opens (or the memory for them) is reached";
        SessionLimit: "session-limit", "", "RFC 6146 5.3",
            "the instance has as many sessions as its configuration allows";
        BibLimit: "bib-limit", "", "RFC 6146 5.3",
            "the instance has as many BIB entries as its configuration allows";
        SourceSessionLimit: "source-session-limit", "", "RFC 6888 REQ-4",
            "the IPv6 client has as many sessions as one source may have";
        SourceBibLimit: "source-bib-limit", "", "RFC 6888 REQ-4",
            "the IPv6 client has as many BIB entries as one source may have";
        PrefixSessionLimit: "prefix-session-limit", "", "RFC 6888 REQ-4",
            "the IPv6 client's prefix has as many sessions as one prefix may have";
        PrefixBibLimit: "prefix-bib-limit", "", "RFC 6888 REQ-4",
            "the IPv6 client's prefix has as many BIB entries as one prefix may have";
        TableFull: "table-full", "JSTAT_ENOMEM", "xlat limit",
            "a shard of the tables holds as many records as can be numbered";
    }
}
