//! The targets: each takes any bytes, gives an engine what they mean, and may not panic. See [`crate::world`] for what
//! is checked on every packet.

use xlat_config::Hint;
use xlat_engine::{Engine, EngineOptions};
use xlat_packet::{Checksum, Gso, GsoKind, Offload};
use xlat_tests::build::pattern;

use crate::build::{self, Ends, Header, ICMP4, ICMP6, Part, TCP, UDP};
use crate::input::Input;
use crate::repair::repair;
use crate::setups::{self, address4, address6};
use crate::shape::read;
use crate::world::{World, host};

/// A target with its name, which is also the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 7] = [
    ("six_to_four", six_to_four),
    ("four_to_six", four_to_six),
    ("fragments", fragments),
    ("errors", errors),
    ("operations", crate::operations::operations),
    ("offload", offload),
    ("configuration", configuration),
];

/// Fragments and packets of one input, at most.
const MOST_PACKETS: usize = 40;

/// One IPv6 packet, any bytes, and the answer to what became of it.
pub fn six_to_four(data: &[u8]) {
    raw(data, 6);
}

/// One IPv4 packet, any bytes, and the answer to what became of it.
pub fn four_to_six(data: &[u8]) {
    raw(data, 4);
}

fn raw(data: &[u8], version: u8) {
    let mut input = Input::new(data);
    let setup = setups::pick(&mut input);
    let repairs = input.byte();
    let mut addresses = Input::new(input.take(12));
    let mut packet = input.rest().to_vec();
    if let Some(first) = packet.first_mut() {
        *first = *first & 0xf | version << 4;
    }
    repair(&mut packet, repairs, &mut addresses);
    let mut world = World::new(&setup);
    let reply = world.plain(&packet);
    for sent in &reply.sent {
        if let Some(answer) = answer(&sent.bytes) {
            let _verdict = world.plain(&answer);
        }
    }
}

/// What a simple host would answer to a packet: the same, the other way.
pub fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    let shape = read(packet).filter(|shape| !shape.is_fragment() && !shape.is_error(packet))?;
    let mut upper = shape.upper(packet).to_vec();
    match shape.protocol {
        TCP | UDP if upper.len() >= 4 => upper[..4].rotate_left(2),
        ICMP4 if upper.len() >= 8 => upper[0] = 0,
        ICMP6 if upper.len() >= 8 => upper[0] = 129,
        _ => return None,
    }
    let ends = shape.ends.turned();
    build::finish(ends, shape.protocol, &mut upper, 0);
    Some(build::ip(ends, &Header::default(), shape.protocol, &upper))
}

/// Fragments of a few datagrams in any order, twice, overlapping, or not at all; some of them after a while.
pub fn fragments(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&setups::pick(&mut input));
    let ends = [
        Ends::V6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 8].into(), [0x64, 0xff9b, 0, 0, 0, 0, 0xcb00, 0x7110].into()),
        Ends::V6(address6(&mut input), address6(&mut input)),
        Ends::V4(address4(&mut input), address4(&mut input)),
        Ends::V4([203, 0, 113, 16].into(), [203, 0, 113, 2].into()),
    ];
    let ports = (1000 + u16::from(input.byte()), 2000 + u16::from(input.byte() & 3));
    let messages: Vec<_> = ends.iter().map(|ends| build::message(&mut input, *ends, ports)).collect();
    for _ in 0..MOST_PACKETS {
        if input.is_empty() {
            return;
        }
        let which = input.below(ends.len());
        let (protocol, message) = &messages[which];
        let header = |part| Header { df: false, part, ..Header::default() };
        let packet = match input.below(8) {
            0 => build::ip(ends[which], &header(None), *protocol, message),
            1 => {
                drop(world.advance(u64::from(input.byte()) * 20));
                continue;
            }
            kind => {
                let offset = usize::from(input.byte()) * 8;
                let len = if kind == 7 { input.word().into() } else { usize::from(input.byte()) * 8 };
                let end = (offset + len).min(message.len());
                let part = message.get(offset..end).unwrap_or(&[]);
                let more = if kind == 6 { input.flag() } else { end < message.len() };
                let id = input.below(2) as u32 + 0x1_0007;
                let place = Part { offset: offset as u16, more, id };
                build::ip(ends[which], &header(Some(place)), *protocol, part)
            }
        };
        let _reply = world.plain(&packet);
    }
}

/// ICMP errors of both families: about anything, and about packets that were translated before.
pub fn errors(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&setups::pick(&mut input));
    for _ in 0..4 {
        let six = input.flag();
        let ends = if six {
            Ends::V6(address6(&mut input), address6(&mut input))
        } else {
            Ends::V4(address4(&mut input), address4(&mut input))
        };
        let ports = (1000 + u16::from(input.byte()), 2000 + u16::from(input.byte() & 3));
        let (protocol, message) = build::message(&mut input, ends, ports);
        let options = if input.below(8) == 7 { vec![1; 4] } else { Vec::new() };
        let header = Header { hops: input.byte().max(2), df: input.flag(), options, ..Header::default() };
        let packet = build::ip(ends, &header, protocol, &message);
        let reply = world.plain(&packet);
        let error_about = |input: &mut Input<'_>, packet: &[u8]| {
            let shape = read(packet)?;
            let (Ends::V4(..), router) = (shape.ends, address4(input)) else {
                let Ends::V6(src, _) = shape.ends else { return None };
                return Some((Ends::V6(address6(input), src), packet.to_vec()));
            };
            let Ends::V4(src, _) = shape.ends else { return None };
            Some((Ends::V4(router, src), packet.to_vec()))
        };
        let quoted = match input.below(4) {
            0 => Some((ends.turned(), packet)),
            _ => reply.sent.first().and_then(|sent| error_about(&mut input, &sent.bytes)),
        };
        let Some((ends, quoted)) = quoted else { return };
        let message = error_message(&mut input, ends, quoted);
        let header = Header { hops: 60, part: fragment(&mut input), ..Header::default() };
        let _reply = world.plain(&build::ip(ends, &header, ends.icmp(), &message));
    }
}

/// An ICMP error that quotes `quoted`, cut or damaged or followed by an extension (RFC 4884).
fn error_message(input: &mut Input<'_>, ends: Ends, mut quoted: Vec<u8>) -> Vec<u8> {
    let kinds4 = [(3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0), (5, 0), (3, 200)];
    let kinds6 = [(1, 0), (1, 4), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (1, 200)];
    let kind = input.pick(if ends.is6() { &kinds6 } else { &kinds4 });
    let mut rest: [u8; 4] = input.long().to_be_bytes();
    quoted.truncate(usize::from(input.word()) % 1300);
    for _ in 0..input.below(3) {
        let at = usize::from(input.byte());
        if let Some(byte) = quoted.get_mut(at) {
            *byte = input.byte();
        }
    }
    let mode = input.below(4);
    if mode != 0 {
        // At least 128 bytes, in units of the length field, then the extension.
        let unit = if ends.is6() { 8 } else { 4 };
        quoted.resize(quoted.len().max(128).next_multiple_of(unit), 0);
        if mode == 1 {
            let units = (quoted.len() / unit) as u8;
            rest[usize::from(!ends.is6())] = units;
        }
        let extension = usize::from(input.byte()) * 2;
        quoted.extend(pattern(extension, 5));
    }
    let wrong_by = if input.below(8) == 7 { input.word() } else { 0 };
    build::error(ends, kind, rest, &quoted, wrong_by)
}

fn fragment(input: &mut Input<'_>) -> Option<Part> {
    match input.below(8) {
        6 => Some(Part { offset: 0, more: false, id: 9 }),
        7 => Some(Part { offset: 0, more: true, id: 9 }),
        _ => None,
    }
}

/// A packet with offload state that need not fit it.
pub fn offload(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&setups::pick(&mut input));
    let ends = if input.flag() {
        Ends::V6(address6(&mut input), address6(&mut input))
    } else {
        Ends::V4(address4(&mut input), address4(&mut input))
    };
    let ports = (1000 + u16::from(input.byte()), 2000 + u16::from(input.byte() & 3));
    let (protocol, message) = build::message(&mut input, ends, ports);
    let header = Header { df: input.flag(), part: fragment(&mut input), ..Header::default() };
    let mut packet = build::ip(ends, &header, protocol, &message);
    let upper_at = (packet.len() - message.len()) as u16;
    let sane = |input: &mut Input<'_>, value: u16| if input.below(8) == 7 { input.word() } else { value };
    let checksum = match input.below(4) {
        0 => Checksum::Complete,
        1 => Checksum::Verified,
        _ => Checksum::Partial {
            start: sane(&mut input, upper_at),
            offset: sane(&mut input, build::checksum_at(protocol).unwrap_or(0) as u16),
        },
    };
    let own = if protocol == TCP { GsoKind::Tcp } else { GsoKind::Udp };
    let other = if protocol == TCP { GsoKind::Udp } else { GsoKind::Tcp };
    let headers = upper_at + if protocol == TCP { 20 } else { 8 };
    let gso = match input.below(4) {
        0 => None,
        which => Some(Gso {
            kind: if which == 3 { other } else { own },
            segment_size: {
                let size = 100 + 8 * u16::from(input.byte());
                sane(&mut input, size)
            },
            header_len: sane(&mut input, headers),
            ecn: input.flag(),
        }),
    };
    if let (Checksum::Partial { start, offset }, true) = (checksum, input.flag()) {
        let at = usize::from(start) + usize::from(offset);
        let pseudo = ends.pseudo(protocol, message.len());
        if let Some(field) = packet.get_mut(at..at + 2) {
            field.copy_from_slice(&pseudo.to_be_bytes());
        }
    }
    let cut = usize::from(input.byte());
    if input.flag() {
        packet.truncate(packet.len().saturating_sub(cut));
    }
    let _reply = world.take(&packet, Offload { checksum, gso }, 0);
}

/// Any text as configuration. One that is accepted must work.
pub fn configuration(data: &[u8]) {
    let loaded = match xlat_config::load("file", data, &Hint::default()) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            assert!(diagnostics.has_errors() && !diagnostics.to_string().is_empty());
            return;
        }
    };
    let setup = setups::NAT64;
    let options = EngineOptions {
        hops: setup.hops,
        mtu4: setup.mtu4,
        mtu6: setup.mtu6,
        secret: [1; 16],
        shards: 2,
        flows: None,
        peers: None,
    };
    match Engine::new(&loaded.config, host(), options) {
        Ok(engine) => {
            if let Err(error) = engine.reconfigure(&loaded.config) {
                panic!("accepted twice, refused by the engine the second time: {error}");
            }
        }
        Err(error) => panic!("accepted, and refused by the engine: {error}"),
    }
}
