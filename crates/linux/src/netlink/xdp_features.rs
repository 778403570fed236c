//! What drivers can do with XDP, by generic netlink family `netdev` (Linux 6.3; Documentation/netlink/specs/netdev.yaml).

use std::collections::HashMap;
use std::io;

use super::raw::{Body, DUMP, attributes, request};

/// `GENL_ID_CTRL`.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const GET_DEVICE: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_FEATURES: u16 = 3;

/// Bytes of a generic netlink header.
const HEADER: usize = 4;

/// What a driver can do with XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures(u64);

impl XdpFeatures {
    /// It runs programs.
    pub fn runs_programs(self) -> bool {
        self.0 & 1 != 0
    }

    /// It sends frames that a program on another interface redirected here.
    pub fn is_target(self) -> bool {
        self.0 & 4 != 0
    }

    /// It runs programs on frames of several buffers.
    pub fn has_frags(self) -> bool {
        self.0 & 32 != 0
    }
}

/// The features of all interfaces of this thread's network namespace, by index. Needs no privilege.
///
/// # Errors
///
/// On kernels that do not say (before Linux 6.3).
pub fn xdp_features() -> io::Result<HashMap<u32, XdpFeatures>> {
    let ask = Body::new(&[GET_FAMILY, 1, 0, 0]).with(FAMILY_NAME, b"netdev\0");
    let answers = request(libc::NETLINK_GENERIC, CONTROL, 0, &ask)?;
    let family = answers.iter().find_map(|answer| {
        let id = find(answer, FAMILY_ID)?;
        Some(u16::from_ne_bytes(*id.first_chunk()?))
    });
    let family = family.ok_or(io::ErrorKind::Unsupported)?;
    let answers = request(libc::NETLINK_GENERIC, family, DUMP, &Body::new(&[GET_DEVICE, 1, 0, 0]))?;
    let device = |answer: &Vec<u8>| {
        let index = u32::from_ne_bytes(*find(answer, DEVICE_INDEX)?.first_chunk()?);
        let features = u64::from_ne_bytes(*find(answer, DEVICE_FEATURES)?.first_chunk()?);
        Some((index, XdpFeatures(features)))
    };
    Ok(answers.iter().filter_map(device).collect())
}

fn find(answer: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(answer.get(HEADER..)?).find_map(|(found, value)| (found == kind).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_asked_for_and_runs_no_programs() {
        match xdp_features() {
            Ok(all) => assert!(all.get(&1).is_some_and(|features| !features.runs_programs())),
            Err(error) => println!("skipped: the kernel does not say: {error}"),
        }
    }
}
