//! The keys that hold tables, lists and names rather than single options; which format and which translator has them.

use crate::model::Translator;

/// The two file formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Our own: TOML, several instances.
    Native,
    /// Jool's atomic configuration: JSON, one instance.
    Jool,
}

/// A key that is not a single option.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The only format that has it; `None`: both.
    pub(crate) dialect: Option<Dialect>,
    /// The only translator that has it; `None`: both.
    pub(crate) only: Option<Translator>,
    /// Type in words.
    pub(crate) form: &'static str,
    pub(crate) doc: &'static str,
}

const fn key(name: &'static str, form: &'static str, doc: &'static str) -> Key {
    Key { name, dialect: None, only: None, form, doc }
}

const fn native(name: &'static str, form: &'static str, doc: &'static str) -> Key {
    Key { dialect: Some(Dialect::Native), ..key(name, form, doc) }
}

const fn siit(name: &'static str, form: &'static str, doc: &'static str) -> Key {
    Key { only: Some(Translator::Siit), ..key(name, form, doc) }
}

const fn nat64(name: &'static str, form: &'static str, doc: &'static str) -> Key {
    Key { only: Some(Translator::Nat64), ..key(name, form, doc) }
}

/// The root of a native file.
pub(crate) static ROOT: &[Key] = &[
    native("device", "table", "The TUN device."),
    native("fast-path", "table", "What the kernel does by itself (eBPF)."),
    native("web", "table", "Where others may look on: metrics and the live page."),
    native("log", "table", "Where the lines of `logging-bib` and `logging-session` go."),
    native("instance", "array of tables", "The translators."),
];

/// An instance: an element of `[[instance]]`, or the root of a Jool file.
#[rustfmt::skip]
pub(crate) static INSTANCE: &[Key] = &[
    native("name", "string", "1 to 15 printable characters, unique in the file. Mandatory. `instance` is another word for it."),
    key("instance", "string", "The name, as Jool's files call it."),
    native("type", "string", "`\"siit\"` or `\"nat64\"`. May be left out where the other keys leave no doubt."),
    Key { dialect: Some(Dialect::Jool), ..key("framework", "string", "Jool's files only, mandatory there: `\"netfilter\"` or `\"iptables\"`. Checked, without effect.") },
    key("global", "table", "Options, see below."),
    native("limits", "table", "Bounds, see below."),
    siit("eamt", "array", "Explicit address mappings (RFC 7757)."),
    siit("denylist4", "array of prefixes", "IPv4 prefixes that pool6 must not translate."),
    siit("blacklist4", "array of prefixes", "Old name of `denylist4`. Where both appear their contents add up."),
    nat64("pool4", "array", "IPv4 transport addresses that mask the clients."),
    nat64("bib", "array", "Static BIB entries."),
];

/// An element of `eamt`.
pub(crate) static EAM: &[Key] = &[
    key("ipv6-prefix", "IPv6 prefix", "Mandatory; length 128 where it is left out."),
    key(
        "ipv4-prefix",
        "IPv4 prefix",
        "Mandatory; length 32 where it is left out. May not have more suffix bits than the IPv6 prefix.",
    ),
];

/// An element of `pool4`.
#[rustfmt::skip]
pub(crate) static POOL4: &[Key] = &[
    key("protocol", "string", "`\"TCP\"`, `\"UDP\"` or `\"ICMP\"`. TOML: all three where it is left out. JSON: mandatory."),
    key("prefix", "IPv4 prefix", "Mandatory. All of its addresses are used."),
    key("port-range", "string", "`\"N\"` or `\"A-B\"`; identifiers for ICMP. TOML: all ports where it is left out. JSON: `61001-65535`."),
    key("mark", "number, 0 to 4294967295", "Only packets with this firewall mark use the block. 0 (the default): packets without mark."),
    key("max-iterations", "number from 1, `\"auto\"` or `\"infinity\"`", "Kept for Jool's files; finding a port takes constant time here."),
];

/// An element of `bib`.
pub(crate) static BIB: &[Key] = &[
    key("protocol", "string", "`\"TCP\"`, `\"UDP\"` or `\"ICMP\"`. Mandatory."),
    key("ipv6-address", "string `\"ADDR#PORT\"`", "The client. Mandatory."),
    key("ipv4-address", "string `\"ADDR#PORT\"`", "Its mask, within `pool4`. Mandatory."),
];
