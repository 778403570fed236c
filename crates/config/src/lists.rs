//! The lists of an instance: `eamt`, `denylist4`, `pool4` and `bib`, element by element.

use ipnet::Ipv4Net;

use crate::check;
use crate::field::{Fault, Field};
use crate::keys::{self, Dialect};
use crate::model::{BibEntry, EamEntry, MaxIterations, Pool4Entry, Protocol};
use crate::node::{Node, Value};
use crate::read::Reader;
use crate::source::ListPlaces;
use crate::value::{self, Problem};

/// Jool's default port range, in its own files.
const JOOL_PORTS: std::ops::RangeInclusive<u16> = 61001..=65535;

/// The elements read so far.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) eamt: Vec<EamEntry>,
    pub(crate) denylist4: Vec<Ipv4Net>,
    pub(crate) pool4: Vec<Pool4Entry>,
    pub(crate) bib: Vec<BibEntry>,
    /// As many places as there are elements, list by list.
    pub(crate) places: ListPlaces,
}

impl Lists {
    /// Reads the list under `key`.
    pub(crate) fn read<'t>(&mut self, reader: &mut Reader<'t>, key: &'static str, node: &Node<'t>) {
        let array = reader.field(key, node).array();
        for element in reader.accept(array).unwrap_or_default() {
            match key {
                "eamt" => self.eam(reader, element),
                "pool4" => self.pool4(reader, element),
                "bib" => self.bib(reader, element),
                _ => self.denied(reader, key, element),
            }
        }
    }

    /// An object; in TOML also `"PREFIX4 PREFIX6"`, either first.
    fn eam<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        let entry = match &node.value {
            Value::String(_) if reader.dialect() == Dialect::Native => {
                let field = reader.field("eamt", node);
                reader.accept(field.parsed(eam_pair))
            }
            _ => {
                let Some(members) = reader.members("eamt", node, &reader_names(keys::EAM)) else { return };
                let ipv6 = reader.mandatory("", node, &members, "ipv6-prefix");
                let ipv4 = reader.mandatory("", node, &members, "ipv4-prefix");
                let ipv6 = ipv6.and_then(|field| reader.accept(field.parsed(value::prefix6)));
                let ipv4 = ipv4.and_then(|field| reader.accept(field.parsed(value::prefix4)));
                ipv6.zip(ipv4).map(|(ipv6, ipv4)| EamEntry { ipv6, ipv4 })
            }
        };
        let Some(entry) = entry else { return };
        match check::eam(entry) {
            Ok(()) => {
                self.eamt.push(entry);
                self.places.eamt.push(node.span);
            }
            Err(problem) => reader.report((node.span, problem)),
        }
    }

    fn denied<'t>(&mut self, reader: &mut Reader<'t>, key: &'static str, node: &Node<'t>) {
        let field = reader.field(key, node);
        if let Some(prefix) = reader.accept(field.parsed(value::prefix4)) {
            self.denylist4.push(prefix);
            self.places.denylist4.push(node.span);
        }
    }

    /// An object; in TOML also a prefix alone, which means all of its ports for every protocol.
    fn pool4<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        let native = reader.dialect() == Dialect::Native;
        if let (Value::String(_), true) = (&node.value, native) {
            let field = reader.field("pool4", node);
            if let Some(prefix) = reader.accept(field.parsed(pool4_prefix)) {
                self.pool4_block(node, &Protocol::ALL, prefix, None, 0, MaxIterations::Auto);
            }
            return;
        }
        let Some(members) = reader.members("pool4", node, &reader_names(keys::POOL4)) else { return };
        let find = |key: &'static str| members.iter().find(|(known, _)| *known == key);
        let optional =
            |reader: &Reader<'t>, key| find(key).map(|(_, member)| reader.field(&member.key, &member.node));

        let protocol = match optional(reader, "protocol") {
            None if native => Some(Protocol::ALL.to_vec()),
            _ => {
                let field = reader.mandatory("", node, &members, "protocol");
                field.and_then(|field| reader.accept(field.parsed(value::protocol))).map(|one| vec![one])
            }
        };
        let prefix = reader.mandatory("", node, &members, "prefix");
        let prefix = prefix.and_then(|field| reader.accept(field.parsed(pool4_prefix)));
        let ports = match optional(reader, "port-range") {
            None => Some((!native).then_some(JOOL_PORTS)),
            Some(field) => reader.accept(field.parsed(value::ports)).map(Some),
        };
        let mark = match optional(reader, "mark") {
            None => Some(0),
            Some(field) => reader.accept(number(field, 0)),
        };
        let iterations = match optional(reader, "max-iterations") {
            None => Some(MaxIterations::Auto),
            Some(field) => reader.accept(max_iterations(field)),
        };
        let (Some(protocols), Some(prefix), Some(ports), Some(mark), Some(iterations)) =
            (protocol, prefix, ports, mark, iterations)
        else {
            return;
        };
        if ports == Some(0..=0) && protocols.iter().any(|protocol| *protocol != Protocol::Icmp) {
            let problem = Problem::new("port 0 exists only for ICMP", "write ports from 1 to 65535");
            return reader.report((node.span, problem));
        }
        self.pool4_block(node, &protocols, prefix, ports, mark, iterations);
    }

    fn pool4_block(
        &mut self,
        node: &Node<'_>,
        protocols: &[Protocol],
        prefix: Ipv4Net,
        ports: Option<std::ops::RangeInclusive<u16>>,
        mark: u32,
        max_iterations: MaxIterations,
    ) {
        for &protocol in protocols {
            let all = protocol.all_ports();
            let ports =
                ports.as_ref().map_or(all.clone(), |ports| *ports.start().max(all.start())..=*ports.end());
            self.pool4.push(Pool4Entry { protocol, prefix, ports, mark, max_iterations });
            self.places.pool4.push(node.span);
        }
    }

    fn bib<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        let Some(members) = reader.members("bib", node, &reader_names(keys::BIB)) else { return };
        let protocol = reader.mandatory("", node, &members, "protocol");
        let ipv6 = reader.mandatory("", node, &members, "ipv6-address");
        let ipv4 = reader.mandatory("", node, &members, "ipv4-address");
        let protocol = protocol.and_then(|field| reader.accept(field.parsed(value::protocol)));
        let ipv6 = ipv6.and_then(|field| reader.accept(field.parsed(value::transport6)));
        let ipv4 = ipv4.and_then(|field| reader.accept(field.parsed(value::transport4)));
        if let (Some(protocol), Some(ipv6), Some(ipv4)) = (protocol, ipv6, ipv4) {
            self.bib.push(BibEntry { protocol, ipv6, ipv4 });
            self.places.bib.push(node.span);
        }
    }
}

/// Elements have the same keys in both formats.
fn reader_names(keys: &[keys::Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

fn pool4_prefix(text: &str) -> Result<Ipv4Net, Problem> {
    let prefix = value::prefix4(text)?;
    check::pool4(prefix).map(|()| prefix)
}

fn eam_pair(text: &str) -> Result<EamEntry, Problem> {
    let mut words = text.split_ascii_whitespace();
    let (Some(one), Some(other), None) = (words.next(), words.next(), words.next()) else {
        let message = format!("'{}' is not a pair of prefixes", crate::diagnostic::shown(text));
        return Err(Problem::new(
            message,
            "write an IPv4 and an IPv6 prefix, for instance \"192.0.2.1 2001:db8::1\"",
        ));
    };
    let (ipv4, ipv6) = if one.contains(':') { (other, one) } else { (one, other) };
    Ok(EamEntry { ipv6: value::prefix6(ipv6)?, ipv4: value::prefix4(ipv4)? })
}

fn number(field: Field<'_, '_>, min: u32) -> Result<u32, Fault> {
    let number = field.integer(min.into(), u32::MAX.into())?;
    u32::try_from(number).map_err(|_| field.mistyped("integer", "write a smaller number"))
}

fn max_iterations(field: Field<'_, '_>) -> Result<MaxIterations, Fault> {
    match &field.node.value {
        Value::String(word) if word == "auto" => Ok(MaxIterations::Auto),
        Value::String(word) if word == "infinity" => Ok(MaxIterations::Infinity),
        Value::String(_) => {
            Err(field.mistyped("max-iterations", "write \"auto\", \"infinity\" or a number from 1"))
        }
        _ => number(field, 1).map(MaxIterations::Count),
    }
}
