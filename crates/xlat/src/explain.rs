//! `xlat explain`: what would become of a packet, decision by decision.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::ExitCode;

use xlat_config::{Hint, load_file};
use xlat_control::api::{self, Explanation, Fate, Question};
use xlat_engine::{Engine, EngineOptions};
use xlat_linux::netlink::watch;
use xlat_linux::tun::MAX_MTU;
use xlat_packet::checksum::Sum;
use xlat_packet::{icmp, icmpv4, icmpv6, ipv4, ipv6, tcp, udp};
use xlat_translate::policy::Hops;

use crate::cli::{CONFIG, Explain, Protocol};
use crate::commands::output::print;
use crate::commands::paint;
use crate::commands::remote::Remote;
use crate::commands::trouble::Trouble;
use crate::failure::{Failure, Outcome};
use crate::host;

const ICMPV4: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Hop limit of a described packet.
const HOP_LIMIT: u8 = 64;
/// Ports of a described packet, unless told.
const PORTS: (u16, u16) = (40000, 80);
/// Longest packet in hexadecimal digits.
const DIGITS_MAX: usize = 2 * xlat_packet::buffer::MAX_PACKET;

/// Explains one packet.
pub(crate) fn explain(arguments: &Explain) -> Outcome<ExitCode> {
    let (packet, title) = match (&arguments.packet, arguments.source, arguments.destination) {
        (Some(digits), _, _) => {
            let packet = bytes_of(digits)?;
            let title = format!("a packet of {} bytes", packet.len());
            (packet, title)
        }
        (None, Some(source), Some(destination)) => describe(source, destination, arguments)?,
        (None, _, _) => return Err(Failure::new("say source and destination, or --packet")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (answer, by) = match &arguments.config {
            Some(file) => {
                (by_file(file, &packet, arguments.mark).await?, format!("as in {}", file.display()))
            }
            None => match by_daemon(arguments, &packet).await {
                Ok(answer) => (answer, "asked the daemon".to_owned()),
                Err(trouble) if trouble.is_no_daemon() => {
                    let file = Path::new(CONFIG);
                    if !file.exists() {
                        let trouble = trouble.because(&format!("nor is there {CONFIG}"));
                        return Ok(trouble
                            .help("start one, or say by --config FILE what is to be explained")
                            .tell(arguments.to.json));
                    }
                    let by = format!("no daemon runs here: as in {CONFIG}");
                    (by_file(file, &packet, arguments.mark).await?, by)
                }
                Err(trouble) => return Ok(trouble.tell(arguments.to.json)),
            },
        };
        let text = match arguments.to.json {
            true => format!("{}\n", serde_json::to_string(&answer)?),
            false => shown(&answer, &title, &by)?,
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn by_daemon(arguments: &Explain, packet: &[u8]) -> Result<Explanation, Trouble> {
    let packet = packet.iter().map(|byte| format!("{byte:02x}")).collect();
    Remote::new(&arguments.to).post("/v1/explain", &Question { packet, mark: arguments.mark }).await
}

async fn by_file(file: &Path, packet: &[u8], mark: u32) -> Outcome<Explanation> {
    let loaded = load_file(file, &Hint::default())
        .map_err(|diagnostics| Failure::new(format!("the configuration has errors\n{diagnostics}")))?;
    let addresses = watch::snapshot()
        .await
        .map_err(|error| Failure::doing("cannot read this host's addresses", &error))?;
    // Nothing is kept and nothing is sent: the key guards no secret here.
    let options = EngineOptions {
        hops: Hops::Decrement,
        mtu4: MAX_MTU,
        mtu6: MAX_MTU,
        secret: [0; 16],
        shards: 1,
        flows: None,
        peers: None,
    };
    let engine = Engine::new(&loaded.config, host::own_addresses(&addresses), options)?;
    Ok(Explanation::from(&engine.explain(packet, mark)))
}

fn shown(explanation: &Explanation, title: &str, by: &str) -> Result<String, std::fmt::Error> {
    let is_painted = paint::stdout();
    let (bold, dim) = (paint::BOLD.when(is_painted), paint::DIM.when(is_painted));
    let mut text = String::new();
    writeln!(text, "{title}  {dim}({by}){dim:#}")?;
    for (at, step) in explanation.steps.iter().enumerate() {
        let api::Step { title, detail, source } = step;
        writeln!(text, "{:2}. {bold}{title}{bold:#}: {detail}  {dim}[{source}]{dim:#}", at + 1)?;
    }
    let api::Verdict { word, reason, explanation, source } = &explanation.verdict;
    let (paint, word) = match word {
        Fate::Translated => (paint::GREEN, "translated"),
        Fate::Returned => (paint::YELLOW, "not for this translator"),
        Fate::Held => (paint::YELLOW, "held"),
        Fate::Dropped => (paint::RED, "dropped"),
    };
    let paint = paint.when(is_painted);
    write!(text, "=> {paint}{word}{paint:#}")?;
    if let Some(reason) = reason {
        let why = [explanation.as_deref(), source.as_deref().filter(|source| !source.is_empty())];
        let why: Vec<&str> = why.into_iter().flatten().collect();
        write!(text, ": {reason} ({})", why.join("; "))?;
    }
    writeln!(text)?;
    Ok(text)
}

/// A packet as described on the command line, and its name.
fn describe(source: IpAddr, destination: IpAddr, arguments: &Explain) -> Outcome<(Vec<u8>, String)> {
    let protocol = arguments.protocol;
    let ports = match (arguments.ports.as_slice(), protocol) {
        ([source, destination, ..], _) => (*source, *destination),
        ([identifier], Protocol::Icmp) => (*identifier, PORTS.1),
        ([destination], Protocol::Tcp | Protocol::Udp) => (PORTS.0, *destination),
        ([], _) => PORTS,
    };
    let name = match protocol {
        Protocol::Tcp => format!("TCP SYN from {source}#{} to {destination}#{}", ports.0, ports.1),
        Protocol::Udp => format!("UDP from {source}#{} to {destination}#{}", ports.0, ports.1),
        Protocol::Icmp => {
            format!("ICMP echo request from {source} to {destination}, identifier {}", ports.0)
        }
    };
    let packet = match (source, destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => packet6(source, destination, protocol, ports),
        (IpAddr::V4(source), IpAddr::V4(destination)) => packet4(source, destination, protocol, ports),
        _ => return Err(Failure::new("source and destination must be of the same family")),
    };
    Ok((packet, name))
}

fn packet6(src: Ipv6Addr, dst: Ipv6Addr, protocol: Protocol, ports: (u16, u16)) -> Vec<u8> {
    let number = match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Icmp => ICMPV6,
    };
    let pseudo = |len| Sum::addresses6(src, dst).plus(Sum::length_and_protocol(len, number));
    let payload = payload(protocol, ports, icmpv6::ECHO_REQUEST, pseudo);
    let mut packet = vec![0; ipv6::LEN];
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: payload.len() as u16,
        next_header: number,
        hop_limit: HOP_LIMIT,
        src,
        dst,
    };
    if let Some(bytes) = packet.first_chunk_mut() {
        header.write(bytes);
    }
    packet.extend(payload);
    packet
}

fn packet4(src: Ipv4Addr, dst: Ipv4Addr, protocol: Protocol, ports: (u16, u16)) -> Vec<u8> {
    let number = match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Icmp => ICMPV4,
    };
    let pseudo = |len| match protocol {
        Protocol::Icmp => Sum::default(),
        Protocol::Tcp | Protocol::Udp => {
            Sum::addresses4(src, dst).plus(Sum::length_and_protocol(len, number))
        }
    };
    let payload = payload(protocol, ports, icmpv4::ECHO_REQUEST, pseudo);
    let mut packet = vec![0; ipv4::LEN];
    let header = ipv4::Header {
        header_len: ipv4::LEN as u8,
        tos: 0,
        total_len: (ipv4::LEN + payload.len()) as u16,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: HOP_LIMIT,
        protocol: number,
        src,
        dst,
    };
    if let Some(bytes) = packet.first_chunk_mut() {
        header.write(bytes);
    }
    packet.extend(payload);
    packet
}

/// The transport header without data, its checksum included; `pseudo` sums the pseudo-header up for a length.
fn payload(protocol: Protocol, ports: (u16, u16), echo: u8, pseudo: impl Fn(u32) -> Sum) -> Vec<u8> {
    let (mut bytes, checksum_at) = match protocol {
        Protocol::Tcp => (vec![0; tcp::LEN], tcp::CHECKSUM_AT),
        Protocol::Udp => (vec![0; udp::LEN], udp::CHECKSUM_AT),
        Protocol::Icmp => (vec![0; icmp::LEN], icmp::CHECKSUM_AT),
    };
    let [high, low] = ports.0.to_be_bytes();
    match protocol {
        Protocol::Tcp => {
            let header = tcp::Header {
                src_port: ports.0,
                dst_port: ports.1,
                sequence: 0,
                acknowledgement: 0,
                header_len: tcp::LEN as u8,
                flags: tcp::SYN,
                window: u16::MAX,
                checksum: 0,
                urgent: 0,
            };
            bytes.first_chunk_mut().map(|bytes| header.write(bytes))
        }
        Protocol::Udp => {
            let header =
                udp::Header { src_port: ports.0, dst_port: ports.1, len: udp::LEN as u16, checksum: 0 };
            bytes.first_chunk_mut().map(|bytes| header.write(bytes))
        }
        Protocol::Icmp => {
            let header = icmp::Header { kind: echo, code: 0, checksum: 0, rest: [high, low, 0, 1] };
            bytes.first_chunk_mut().map(|bytes| header.write(bytes))
        }
    };
    let sum = Sum::of(&bytes).plus(pseudo(bytes.len() as u32)).finish();
    let sum = if protocol == Protocol::Udp { udp::nonzero(sum) } else { sum };
    if let Some(field) = bytes.get_mut(checksum_at..checksum_at + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// Reads hexadecimal digits; blanks and colons do not matter.
fn bytes_of(text: &str) -> Outcome<Vec<u8>> {
    let mut digits = Vec::new();
    for character in text.chars().filter(|character| !character.is_whitespace() && *character != ':') {
        match character.to_digit(16) {
            Some(digit) => digits.push(digit as u8),
            None => {
                return Err(Failure::new(format!(
                    "'{}' is no hexadecimal digit",
                    character.escape_default()
                )));
            }
        }
    }
    if digits.is_empty() || digits.len() % 2 != 0 || digits.len() > DIGITS_MAX {
        return Err(Failure::new(format!(
            "a packet has an even number of digits from 2 to {DIGITS_MAX}, not {}",
            digits.len()
        )));
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn described_packets_are_well_formed() {
        let (source6, destination6) = ("2001:db8::8".parse().unwrap(), "64:ff9b::cb00:7110".parse().unwrap());
        for (protocol, number) in [(Protocol::Tcp, TCP), (Protocol::Udp, UDP), (Protocol::Icmp, ICMPV6)] {
            let packet = packet6(source6, destination6, protocol, (40000, 80));
            let header = ipv6::Header::parse(&packet).unwrap();
            assert_eq!(usize::from(header.payload_len), packet.len() - ipv6::LEN);
            let payload = &packet[ipv6::LEN..];
            let pseudo = Sum::addresses6(source6, destination6)
                .plus(Sum::length_and_protocol(payload.len() as u32, number));
            assert_eq!(Sum::of(payload).plus(pseudo).finish(), 0, "{protocol:?}");
        }
        let packet = packet4([192, 0, 2, 16].into(), [198, 51, 100, 8].into(), Protocol::Icmp, (7, 0));
        assert!(ipv4::checksum_holds(&packet[..ipv4::LEN]));
        assert_eq!(Sum::of(&packet[ipv4::LEN..]).finish(), 0);
    }

    #[test]
    fn digits() {
        assert_eq!(bytes_of("60 0a:FF").unwrap(), [0x60, 0x0a, 0xff]);
        for wrong in ["", "6", "6g", "60\u{7f}", "é0"] {
            assert!(bytes_of(wrong).is_err(), "{wrong}");
        }
    }
}
