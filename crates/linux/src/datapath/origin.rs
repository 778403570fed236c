//! Where a packet of the TUN device came from: said by the program on the device's egress in a few bytes between the
//! virtio header and the packet ([`xlat_fastpath::handover`]), and unknown where there is no program.

use xlat_fastpath::handover::{self, Handover, flag};
use zerocopy::FromBytes;

/// Where a packet came from. All zero if nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Index of the interface it came in by; 0 for the host's own packets, or if not known.
    pub interface: u32,
    /// Its firewall mark.
    pub mark: u32,
    /// It was taken at the interface's ingress: the kernel's forwarding has not seen it and has not taken a hop.
    pub ingress: bool,
}

/// What `bytes`, which were read behind a virtio header, say of a packet's origin, and how many bytes say it. No IP packet
/// begins with the byte that tells.
pub(super) fn split(bytes: &[u8]) -> (Origin, usize) {
    match Handover::read_from_prefix(bytes) {
        Ok((said, _)) if said.magic == handover::MAGIC => {
            let Handover { interface, mark, .. } = said;
            (Origin { interface, mark, ingress: said.flags & flag::INGRESS != 0 }, handover::LEN)
        }
        _ => (Origin::default(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn only_what_begins_with_the_magic_byte_is_taken_off() {
        let said = Handover {
            magic: handover::MAGIC,
            flags: flag::INGRESS,
            interface: 7,
            mark: 9,
            ..Handover::default()
        };
        let mut bytes = said.as_bytes().to_vec();
        bytes.push(0x45);
        assert_eq!(split(&bytes), (Origin { interface: 7, mark: 9, ingress: true }, 16));
        assert_eq!(split(&bytes[..15]), (Origin::default(), 0));
        bytes[0] = 0x60;
        assert_eq!(split(&bytes), (Origin::default(), 0));
        assert_eq!(split(&[]), (Origin::default(), 0));
    }
}
