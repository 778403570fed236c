//! The target of a whole life: clients and servers talk through an engine while its clock and its configuration change.
//! A model remembers which mask each client got: it is the client's alone, and both directions lead to each other.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_engine::{Reason, Verdict};
use xlat_nat64::Refusal;
use xlat_tests::build::pattern;

use crate::build::{self, Ends, Header, ICMP4, TCP, UDP};
use crate::input::Input;
use crate::setups;
use crate::shape::read;
use crate::targets::answer;
use crate::world::World;

/// Steps of one life, at most.
const MOST_STEPS: usize = 120;
/// For so long after a packet its mapping is surely there: the shortest timeout of the setups is ICMP's, a TCP
/// connection that did not come about ends before.
const SURE: u64 = 5_000;

type Client = (u8, Ipv6Addr, u16);
type Mask = (u8, Ipv4Addr, u16);

/// A mapping that has been seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    mask: Mask,
    server: Ipv4Addr,
    server_port: u16,
    until: u64,
}

/// Steps one after the other: a packet from a client, an answer, the clock, a new configuration.
pub fn operations(data: &[u8]) {
    let mut input = Input::new(data);
    let setups = [setups::NAT64, setups::NARROW];
    let mut world = World::new(&input.pick(&setups));
    let mut seen = HashMap::new();
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.below(16) {
            0..10 => outbound(&mut input, &mut world, &mut seen),
            10 | 11 => stranger(&mut input, &mut world),
            12 => drop(world.advance(u64::from(input.byte()) * 10)),
            13 => drop(world.advance(u64::from(input.word()) * 1000)),
            14 => {
                world.reconfigure(&input.pick(&setups));
                seen.clear();
            }
            _ => {
                // A clock that goes back: nothing is sure any more.
                let now = world.now().saturating_sub(u64::from(input.word()));
                world.set_clock(now);
                seen.clear();
            }
        }
    }
    seen.retain(|_, seen| seen.until > world.now());
    for (client, seen) in &seen {
        returns(&mut world, client, seen);
    }
}

fn client(input: &mut Input<'_>) -> Ipv6Addr {
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 8 + u16::from(input.byte() & 7)].into()
}

fn server(input: &mut Input<'_>) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 16 + (input.byte() & 3))
}

fn embedded(address: Ipv4Addr) -> Ipv6Addr {
    (0x0064_ff9b << 96 | u128::from(address.to_bits())).into()
}

/// A message of `protocol` (6, 17 or 1 for echo).
fn message(protocol: u8, ends: Ends, ports: (u16, u16), flags: u8) -> (u8, Vec<u8>) {
    let data = pattern(9, ports.0.into());
    match protocol {
        TCP => (TCP, build::tcp(ends, ports, flags, &data, 0)),
        UDP => (UDP, build::udp(ends, ports, &data, 0)),
        _echo => (ends.icmp(), build::echo(ends, ends.is6(), ports.0, &data, 0)),
    }
}

fn outbound(input: &mut Input<'_>, world: &mut World, seen: &mut HashMap<Client, Seen>) {
    let protocol = input.pick(&[TCP, UDP, ICMP4]);
    let (client, server) = (client(input), server(input));
    let ports = (1000 + u16::from(input.byte() & 7), 80 + u16::from(input.byte() & 1));
    let ends = Ends::V6(client, embedded(server));
    let flags = input.pick(&[2, 0x10, 0x11, 4]);
    let mark = input.pick(&[0, 0, 0, 5]);
    let (number, bytes) = message(protocol, ends, ports, flags);
    let packet = build::ip(ends, &Header::default(), number, &bytes);
    let reply = world.take(&packet, xlat_packet::Offload::NONE, mark);
    if reply.verdict != Verdict::Translated {
        return;
    }
    let mut sent = reply.sent.iter().rev().filter_map(|sent| Some((read(&sent.bytes)?, sent)));
    let Some((shape, sent)) = sent.find(|(shape, sent)| !shape.is_error(&sent.bytes)) else {
        panic!("translated, and nothing was sent");
    };
    let Ends::V4(mask, to) = shape.ends else { panic!("{shape:?}") };
    assert_eq!(to, server);
    let mask_port = if protocol == ICMP4 {
        let upper = shape.upper(&sent.bytes);
        u16::from_be_bytes([upper[4], upper[5]])
    } else {
        assert_eq!(shape.ports(&sent.bytes).1, ports.1);
        shape.ports(&sent.bytes).0
    };
    let until = if flags == 4 && protocol == TCP { 0 } else { world.now() + SURE };
    let now = Seen { mask: (protocol, mask, mask_port), server, server_port: ports.1, until };
    seen.retain(|_, seen| seen.until > world.now());
    for (other, seen) in seen.iter().filter(|(other, _)| **other != (protocol, client, ports.0)) {
        assert_ne!(seen.mask, now.mask, "the mask of {other:?} too");
    }
    returns(world, &(protocol, client, ports.0), &now);
    if let Some(before) = seen.insert((protocol, client, ports.0), now) {
        assert!(before.mask == now.mask || mark != 0, "{before:?}, now {now:?}");
    }
    if input.flag()
        && let Some(answer) = answer(&sent.bytes)
    {
        let _reply = world.plain(&answer);
    }
}

/// A packet from the server to the mask reaches the client.
fn returns(world: &mut World, client: &Client, seen: &Seen) {
    let (protocol, mask, mask_port) = seen.mask;
    let ends = Ends::V4(seen.server, mask);
    let ports = if protocol == ICMP4 { (mask_port, 0) } else { (seen.server_port, mask_port) };
    let (number, bytes) = message(protocol, ends, ports, 0x10);
    let reply = world.plain(&build::ip(ends, &Header::default(), number, &bytes));
    // A client that answers a stored SYN by anything but its own lets the server wait on (RFC 6146 3.5.2.2).
    if reply.verdict == Verdict::Dropped(Reason::State(Refusal::SoExists)) && protocol == TCP {
        return;
    }
    assert_eq!(reply.verdict, Verdict::Translated, "to {client:?} by {seen:?}");
    let Some(sent) = reply.sent.last() else { panic!("translated, and nothing was sent") };
    let Some(shape) = read(&sent.bytes) else { panic!("{sent:?}") };
    assert_eq!(shape.ends, Ends::V6(embedded(seen.server), client.1), "the wrong client");
    let upper = shape.upper(&sent.bytes);
    let port = if protocol == ICMP4 { [upper[4], upper[5]] } else { [upper[2], upper[3]] };
    assert_eq!(u16::from_be_bytes(port), client.2, "the wrong port");
}

/// A packet that nobody asked for.
fn stranger(input: &mut Input<'_>, world: &mut World) {
    let protocol = input.pick(&[TCP, UDP, ICMP4]);
    let ends = Ends::V4(server(input), setups::address4(input));
    let ports = (80 + u16::from(input.byte() & 1), 1998 + u16::from(input.byte() & 7));
    let flags = input.pick(&[2, 0x12, 0x10, 4]);
    let (number, bytes) = message(protocol, ends, ports, flags);
    let header = Header { hops: input.pick(&[64, 1]), ..Header::default() };
    let _reply = world.plain(&build::ip(ends, &header, number, &bytes));
}
