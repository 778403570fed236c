//! Which interfaces the programs sit on, and what they know of all of them.

use std::collections::BTreeMap;

use xlat_config::{Config, FastPath as Options, Xdp};
use xlat_fastpath::config::{Link, link_flag};
use xlat_linux::fastpath::{FastPath, XdpMode};
use xlat_linux::netlink::watch::{HostAddresses, Interface};
use xlat_linux::netlink::xdp_features::xdp_features;

use crate::failure::{Outcome, with_causes};

/// What was done for each interface, by index.
#[derive(Debug, Default)]
pub(super) struct Links {
    known: BTreeMap<u32, Link>,
    attached: BTreeMap<u32, Taken>,
}

/// How an interface's packets are taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    /// An index is given to another interface some time after the first is gone.
    name: String,
    xdp: XdpMode,
}

impl Links {
    /// Brings the programs to where they are wanted (`ingress`: on interfaces; `shared`: on loopback too, for the kernel's
    /// own ICMP errors about packets from an address of the host), and tells them of all interfaces.
    pub(super) fn adapt(
        &mut self,
        fast_path: &FastPath,
        config: &Config,
        addresses: &HostAddresses,
        ingress: bool,
        shared: bool,
    ) -> Outcome {
        let options = &config.fast_path;
        let features = xdp_features().unwrap_or_default();
        let mut wanted: BTreeMap<u32, Taken> = BTreeMap::new();
        for interface in &addresses.interfaces {
            let taken = match interface.loopback {
                true => shared,
                false => ingress && is_taken(options, interface, addresses, &config.device.name),
            };
            if !taken {
                continue;
            }
            let xdp = match options.xdp {
                Xdp::Native if interface.is_ethernet() => XdpMode::Native,
                Xdp::Generic if interface.is_ethernet() => XdpMode::Generic,
                Xdp::Off | Xdp::Native | Xdp::Generic => XdpMode::Off,
            };
            wanted.insert(interface.index, Taken { name: interface.name.clone(), xdp });
        }
        let first = self.known.is_empty();
        for interface in &addresses.interfaces {
            let feature = features.get(&interface.index).copied().unwrap_or_default();
            let flag = |on: bool, flag: u16| if on { flag } else { 0 };
            let link = Link {
                mac: interface.mac.unwrap_or_default(),
                flags: link_flag::KNOWN
                    | flag(interface.is_ethernet(), link_flag::ETHERNET)
                    | flag(feature.is_target(), link_flag::XDP_TARGET)
                    | flag(wanted.contains_key(&interface.index), link_flag::INGRESS),
                mtu: interface.mtu,
            };
            if self.known.get(&interface.index) != Some(&link) {
                fast_path.maps().set_link(interface.index, link)?;
                self.known.insert(interface.index, link);
            }
        }
        let is_there = |index: &u32| addresses.interfaces.iter().any(|interface| interface.index == *index);
        let gone: Vec<u32> = self.known.keys().copied().filter(|index| !is_there(index)).collect();
        for index in gone {
            fast_path.maps().set_link(index, Link::default())?;
            self.known.remove(&index);
        }
        // What a former daemon had attached is known by the pins only.
        let others = fast_path.attached().into_iter().map(|found| found.interface);
        let mut superfluous: Vec<u32> = if first { others.collect() } else { Vec::new() };
        superfluous.extend(self.attached.keys());
        let device = addresses.interface(&config.device.name).map(|device| device.index);
        for index in superfluous.into_iter().filter(|index| Some(*index) != device) {
            if !wanted.contains_key(&index) {
                fast_path.detach(index)?;
                self.attached.remove(&index);
            }
        }
        for (index, taken) in wanted {
            if self.attached.get(&index) == Some(&taken) {
                continue;
            }
            match fast_path.attach_ingress(index, taken.xdp) {
                Ok(how) => {
                    let xdp = match how.xdp {
                        Some(Ok(how)) => how.name().to_owned(),
                        Some(Err(error)) => format!("none: {}", with_causes(&error)),
                        None => "not asked for".to_owned(),
                    };
                    tracing::info!(interface = taken.name, tc = how.tc.name(), xdp, "packets are taken up");
                    self.attached.insert(index, taken);
                }
                // It may be gone again already.
                Err(error) => {
                    tracing::warn!(interface = taken.name, "cannot take packets up: {}", with_causes(&error));
                }
            }
        }
        Ok(())
    }
}

/// Whether packets are to be taken up from an interface. Those of a bridge's or bond's port are taken up from the bridge
/// or bond itself, once they have turned out to be for this host.
fn is_taken(options: &Options, interface: &Interface, addresses: &HostAddresses, device: &str) -> bool {
    let named = |names: &[String]| names.contains(&interface.name);
    if interface.name == device || named(&options.exclude) {
        return false;
    }
    if !options.interfaces.is_empty() {
        return named(&options.interfaces);
    }
    let master =
        interface.master.and_then(|index| addresses.interfaces.iter().find(|one| one.index == index));
    master.is_none_or(|master| master.kind.as_deref() == Some("vrf"))
}
