//! Packets as a pcapng file (draft-ietf-opsawg-pcapng): the reason, and where it came in, as the comment of each packet.
//! One interface description for all: libpcap, and so tcpdump, gives up at the second one of raw IP packets, whatever it
//! says. Written out packet by packet, so that a reader at the other end of a pipe sees them as they come.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};
use xlat_control::capture::CapturedPacket;

use super::bytes;
use super::text::reason;

/// Times are given in units of 10 to the power of minus this seconds.
const NANOSECONDS: u8 = 9;

/// A file that is being written.
pub(super) struct Pcapng<W: Write> {
    writer: PcapNgWriter<W>,
    /// Packets that were lost before the next one.
    lost: u64,
}

impl<W: Write> Pcapng<W> {
    /// Writes the head, so that a reader knows at once what it has: what `device` translates.
    pub(super) fn begin(out: W, device: &str, snap_length: u32) -> io::Result<Self> {
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![SectionHeaderOption::UserApplication(
                concat!("xlat ", env!("CARGO_PKG_VERSION")).into(),
            )],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(out, section).map_err(failed)?;
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: snap_length,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(device)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        writer.write_pcapng_block(interface).map_err(failed)?;
        writer.get_mut().flush()?;
        Ok(Self { writer, lost: 0 })
    }

    /// Says that so many packets are missing before the next.
    pub(super) fn lost(&mut self, lost: u64) {
        self.lost = self.lost.saturating_add(lost);
    }

    /// Writes one packet.
    pub(super) fn packet(&mut self, packet: &CapturedPacket) -> io::Result<()> {
        let mut comment = reason(packet);
        match &packet.interface {
            Some(interface) => comment.push_str(&format!("; came in by {interface}")),
            None => comment.push_str("; sent by this host"),
        }
        if let Some(size) = packet.segment_size {
            comment.push_str(&format!(
                "; an aggregate of segments with {size} bytes, its checksum left to hardware"
            ));
        }
        if packet.mark != 0 {
            comment.push_str(&format!("; mark {}", packet.mark));
        }
        let mut options = vec![EnhancedPacketOption::Comment(Cow::Owned(comment))];
        if self.lost != 0 {
            options.push(EnhancedPacketOption::DropCount(std::mem::take(&mut self.lost)));
        }
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_nanos(packet.time),
            original_len: u32::try_from(packet.length).unwrap_or(u32::MAX),
            data: Cow::Owned(bytes(&packet.packet)),
            options,
        };
        self.writer.write_pcapng_block(block).map_err(failed)?;
        self.writer.get_mut().flush()
    }
}

fn failed(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};
    use xlat_control::capture::Fate;

    use super::*;

    #[test]
    fn a_reader_finds_packets_with_interface_time_and_reason() {
        let packet = |interface: Option<&str>| CapturedPacket {
            time: 1_764_000_000_123_456_789,
            interface: interface.map(str::to_owned),
            ingress: false,
            mark: 7,
            fate: Fate::Dropped,
            reason: "hairpin-loop".to_owned(),
            explanation: "the source is in pool6".to_owned(),
            source: "RFC 6146 3.5".to_owned(),
            length: 60,
            segment_size: None,
            packet: "6000abcd".to_owned(),
        };
        let mut file = Vec::new();
        let mut pcapng = Pcapng::begin(&mut file, "xlat0", 2048).unwrap();
        pcapng.packet(&packet(Some("eth0"))).unwrap();
        pcapng.lost(3);
        pcapng.packet(&packet(None)).unwrap();
        pcapng.packet(&packet(Some("eth0"))).unwrap();

        let mut reader = PcapNgReader::new(file.as_slice()).unwrap();
        let (mut packets, mut names) = (Vec::new(), Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap().into_owned() {
                Block::EnhancedPacket(packet) => packets.push(packet),
                Block::InterfaceDescription(interface) => names.push(interface.options),
                other => panic!("{other:?}"),
            }
        }
        // A second one would end tcpdump.
        assert_eq!(names.len(), 1);
        assert!(names[0].contains(&InterfaceDescriptionOption::IfName("xlat0".into())));
        assert_eq!(packets.iter().map(|packet| packet.interface_id).collect::<Vec<_>>(), [0, 0, 0]);
        let first = &packets[0];
        assert_eq!(first.timestamp, Duration::from_nanos(1_764_000_000_123_456_789));
        assert_eq!((first.original_len, first.data.as_ref()), (60, &[0x60, 0, 0xab, 0xcd][..]));
        let comment =
            |from| format!("dropped: hairpin-loop: the source is in pool6 (RFC 6146 3.5); {from}; mark 7");
        assert_eq!(first.options, [EnhancedPacketOption::Comment(comment("came in by eth0").into())]);
        let second = EnhancedPacketOption::Comment(comment("sent by this host").into());
        assert!(packets[1].options.contains(&second));
        assert!(packets[1].options.contains(&EnhancedPacketOption::DropCount(3)));
    }
}
