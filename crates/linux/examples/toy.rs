//! Measures the data path alone: a stateless toy that exchanges IPv6 and IPv4 headers, one address for another
//! by their last bytes. `toy DEVICE QUEUES FLOWS BATCH SECONDS`; routes are the caller's matter.
//!
//! `64:ff9b::a.b.c.d` is `a.b.c.d`, and `192.0.2.n` is `2001:db8::n`. It is no translator: no ICMP, no options,
//! no fragments, hop limits as they are.

use std::time::Duration;

use xlat_linux::datapath::{Handler, Origin, Transmit, WorkerOptions, Workers};
use xlat_linux::tun::Tun;
use xlat_packet::checksum::{Sum, update, update_partial};
use xlat_packet::{Buffer, Checksum};

struct Toy {
    /// The next identification for flows of one hash: one flow's are consecutive, so that they merge.
    ids: [u16; 256],
}

impl Toy {
    fn make_v4(&mut self, packet: &mut Buffer<'_>) -> Option<()> {
        let header: [u8; 40] = packet.bytes().get(..40)?.try_into().ok()?;
        let length = u16::try_from(packet.len() - 20).ok()?;
        let mut new = [0x45, 0, 0, 0, 0, 0, 0, 0, 63, header[6], 0, 0, 192, 0, 2, header[23], 0, 0, 0, 0];
        new[2..4].copy_from_slice(&length.to_be_bytes());
        let id = self.ids.get_mut(usize::from(*packet.bytes().get(41)?))?;
        *id = id.wrapping_add(1);
        new[4..6].copy_from_slice(&id.to_be_bytes());
        new[16..20].copy_from_slice(&header[36..40]);
        let sum = Sum::of(&new).finish();
        new[10..12].copy_from_slice(&sum.to_be_bytes());
        replace(packet, 40, &new, header[6], Sum::of(&header[8..40]), Sum::of(&new[12..20]))
    }

    fn make_v6(packet: &mut Buffer<'_>) -> Option<()> {
        let header: [u8; 20] = packet.bytes().get(..20)?.try_into().ok()?;
        let length = u16::try_from(packet.len() - 20).ok()?;
        let mut new = [0u8; 40];
        new[0] = 0x60;
        new[4..6].copy_from_slice(&length.to_be_bytes());
        new[6] = header[9];
        new[7] = 63;
        new[8..12].copy_from_slice(&[0, 0x64, 0xff, 0x9b]);
        new[20..24].copy_from_slice(&header[12..16]);
        new[24..28].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        new[39] = header[19];
        replace(packet, 20, &new, header[9], Sum::of(&header[12..20]), Sum::of(&new[8..40]))
    }
}

fn replace(packet: &mut Buffer<'_>, old: usize, new: &[u8], protocol: u8, from: Sum, to: Sum) -> Option<()> {
    let field = new.len() + if protocol == 6 { 16 } else { 6 };
    if !packet.resize_front(old, new.len()) {
        return None;
    }
    packet.bytes_mut().get_mut(..new.len())?.copy_from_slice(new);
    let change =
        if matches!(packet.offload.checksum, Checksum::Partial { .. }) { update_partial } else { update };
    let sum = packet.bytes_mut().get_mut(field..field + 2)?;
    let value = change(u16::from_be_bytes([sum[0], sum[1]]), from, to);
    sum.copy_from_slice(&value.to_be_bytes());
    if let Checksum::Partial { start, .. } = &mut packet.offload.checksum {
        *start = new.len() as u16;
    }
    if let Some(gso) = &mut packet.offload.gso {
        gso.header_len = gso.header_len + new.len() as u16 - old as u16;
    }
    Some(())
}

impl Handler for Toy {
    fn packet(&mut self, packet: &mut Buffer<'_>, _: Origin, out: &mut dyn Transmit) {
        let done = match packet.bytes()[0] >> 4 {
            6 if packet.bytes().get(6).is_some_and(|next| matches!(next, 6 | 17)) => self.make_v4(packet),
            4 if packet.bytes().get(9).is_some_and(|next| matches!(next, 6 | 17)) => Self::make_v6(packet),
            _ => None,
        };
        if done.is_some() {
            out.send(packet);
        }
    }

    fn tick(&mut self, _: u64, _: &mut dyn Transmit) {}

    fn now(&mut self, _: u64) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [device, queues, flows, batch, seconds] = arguments.as_slice() else {
        return Err("usage: toy DEVICE QUEUES FLOWS BATCH SECONDS".into());
    };
    let tun = Tun::create(device, queues.parse()?)?;
    eprintln!("offloads: {}", tun.offload());
    let options = WorkerOptions {
        coalesce_flows: flows.parse()?,
        batch: batch.parse()?,
        pin: false,
        ..WorkerOptions::default()
    };
    let workers = Workers::start(tun, options, |_| Box::new(Toy { ids: [0; 256] }))?;
    std::thread::sleep(Duration::from_secs(seconds.parse()?));
    for (number, counters) in workers.counters().enumerate() {
        let rows: Vec<String> = counters
            .rows()
            .into_iter()
            .filter(|(_, value)| *value > 0)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        eprintln!("worker {number}: {}", rows.join(" "));
    }
    workers.stop();
    Ok(())
}
