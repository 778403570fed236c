//! Attaching: tcx links and XDP links, which are pinned and change their program without a gap, or tc filters where the
//! kernel has no tcx (before Linux 6.6), which live by themselves and are marked by an empty directory among the pins.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::bpf::{self, ATTACH_TCX_EGRESS, ATTACH_TCX_INGRESS, ATTACH_XDP, LinkInfo};
use super::error::FastPathError;
use super::pins::{Pins, entries, make_private, remove_all};
use super::program::FastPath;
use super::tc;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// tc ingress of an interface.
    Ingress,
    /// tc egress of the TUN device.
    Device,
    /// XDP of an interface.
    Xdp,
}

/// By which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// A tcx link.
    Tcx,
    /// A tc filter.
    Tc,
    /// XDP in the driver, with frags.
    XdpFrags,
    /// XDP in the driver.
    XdpNative,
    /// XDP behind the driver: for tests, it is slower than tc.
    XdpGeneric,
}

impl How {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Tc => "tc",
            Self::XdpFrags => "xdp with frags",
            Self::XdpNative => "xdp",
            Self::XdpGeneric => "generic xdp",
        }
    }
}

/// A program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The interface's index.
    pub interface: u32,
    /// Where.
    pub hook: Hook,
    /// By which way.
    pub how: How,
}

/// Which XDP is wanted beside tc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// None.
    #[default]
    Off,
    /// In the driver, with frags where it has them.
    Native,
    /// Behind the driver.
    Generic,
}

/// How an interface's ingress was attached.
#[derive(Debug)]
pub struct Ingress {
    /// tc or tcx.
    pub tc: How,
    /// XDP, or why there is none although it was wanted.
    pub xdp: Option<Result<How, FastPathError>>,
}

impl FastPath {
    /// Takes up what comes in on an interface; what is there of ours, also of an older program, is replaced without a gap. XDP
    /// that is not wanted any more is taken off.
    ///
    /// # Errors
    ///
    /// When tc cannot be attached. That there is no XDP is said in the answer.
    pub fn attach_ingress(&self, interface: u32, xdp: XdpMode) -> Result<Ingress, FastPathError> {
        let tc = self.attach_tc(interface, Hook::Ingress)?;
        let ways: &[(How, Option<&OwnedFd>)] = match xdp {
            XdpMode::Off => &[],
            XdpMode::Native => &[
                (How::XdpFrags, self.programs.xdp_frags.as_ref()),
                (How::XdpNative, self.programs.xdp.as_ref()),
            ],
            XdpMode::Generic => &[(How::XdpGeneric, self.programs.xdp.as_ref())],
        };
        for how in [How::XdpFrags, How::XdpNative, How::XdpGeneric] {
            if !ways.iter().any(|(way, _)| *way == how) {
                self.unpin(Attachment { interface, hook: Hook::Xdp, how })?;
            }
        }
        let mut result = None;
        for (how, program) in ways {
            let attachment = Attachment { interface, hook: Hook::Xdp, how: *how };
            let Some(program) = program else { continue };
            match self.attach_link(attachment, program) {
                Ok(()) => return Ok(Ingress { tc, xdp: Some(Ok(*how)) }),
                Err(source) => result = Some(failed(attachment, source)),
            }
        }
        let missing = || FastPathError::Refused {
            program: xlat_fastpath::programs::XDP,
            reason: "see the messages when it was loaded".to_owned(),
        };
        let error = (xdp != XdpMode::Off).then(|| result.unwrap_or_else(missing));
        Ok(Ingress { tc, xdp: error.map(Err) })
    }

    /// Puts the program on the egress of the TUN device.
    pub fn attach_device(&self, interface: u32) -> Result<How, FastPathError> {
        self.attach_tc(interface, Hook::Device)
    }

    /// Takes everything of ours off an interface.
    pub fn detach(&self, interface: u32) -> Result<(), FastPathError> {
        let ours = attachments(&self.pins).into_iter().filter(|found| found.interface == interface);
        ours.map(|attachment| self.unpin(attachment)).fold(Ok(()), Result::and)
    }

    /// Takes off what other versions still have attached ([`Opened::Incompatible`](super::Opened::Incompatible)), and removes
    /// their pins. To be called whenever everything is attached: a daemon before us may not have come to it.
    pub fn remove_others(&self) -> Result<(), FastPathError> {
        let own = self.pins.directory();
        self.pins.others().iter().try_for_each(|directory| {
            for attachment in attachments_in(directory) {
                // A daemon that ended just when it had taken the link over left it with two names.
                let (name, id) =
                    (pin_name(attachment), |path: PathBuf| link_info(&path).ok().map(|info| info.id));
                let theirs = id(directory.join(&name));
                if theirs.is_some() && theirs == id(own.join(&name)) {
                    remove_pin(&directory.join(&name)).map_err(|source| failed(attachment, source))?;
                }
            }
            take_all_off(directory)?;
            let fail = |source| FastPathError::Pin { step: "remove", path: directory.clone(), source };
            remove_all(directory).map_err(fail)
        })
    }

    /// What is attached. What is left over of interfaces that are gone is cleaned up.
    pub fn attached(&self) -> Vec<Attachment> {
        attachments(&self.pins)
            .into_iter()
            .filter(|attachment| {
                let alive = is_alive(&self.pins.directory(), *attachment);
                if !alive && let Err(error) = self.unpin(*attachment) {
                    tracing::warn!("cannot remove the pin of an interface that is gone: {error}");
                }
                alive
            })
            .collect()
    }

    fn attach_tc(&self, interface: u32, hook: Hook) -> Result<How, FastPathError> {
        let program = if hook == Hook::Device { &self.programs.device } else { &self.programs.ingress };
        let by_tcx = Attachment { interface, hook, how: How::Tcx };
        match self.attach_link(by_tcx, program) {
            Ok(()) => return Ok(How::Tcx),
            // Before Linux 6.6 the kernel does not know this kind of link.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(source) => return Err(failed(by_tcx, source)),
        }
        self.attach_filter(interface, hook).map(|()| How::Tc)
    }

    /// The way of older kernels, tc filters.
    pub(super) fn attach_filter(&self, interface: u32, hook: Hook) -> Result<(), FastPathError> {
        let attachment = Attachment { interface, hook, how: How::Tc };
        let program = if hook == Hook::Device { &self.programs.device } else { &self.programs.ingress };
        let fail = |source| failed(attachment, source);
        let directory = self.pins.directory();
        if tc::add_clsact(interface).map_err(fail)? {
            make_private(&directory.join(clsact_mark(interface))).map_err(fail)?;
        }
        tc::set_filter(interface, hook == Hook::Device, program).map_err(fail)?;
        make_private(&directory.join(pin_name(attachment))).map_err(fail)
    }

    /// Attaches by a link, or lets the link that there is run our program.
    fn attach_link(&self, attachment: Attachment, program: &OwnedFd) -> io::Result<()> {
        let Attachment { interface, hook, how } = attachment;
        let directory = self.pins.directory();
        let path = directory.join(pin_name(attachment));
        if let Some(former) = former(&self.pins, attachment) {
            let link = bpf::get(&former)?;
            bpf::relink(&link, program)?;
            if former != path {
                bpf::pin(&link, &path)?;
                fs::remove_file(&former)?;
            }
            return Ok(());
        }
        let (attach_type, flags) = match (hook, how) {
            (Hook::Ingress, _) => (ATTACH_TCX_INGRESS, bpf::BEFORE),
            (Hook::Device, _) => (ATTACH_TCX_EGRESS, bpf::BEFORE),
            (Hook::Xdp, How::XdpGeneric) => (ATTACH_XDP, bpf::XDP_GENERIC),
            (Hook::Xdp, _) => (ATTACH_XDP, bpf::XDP_NATIVE),
        };
        let link = bpf::link(program, interface, attach_type, flags)?;
        remove_pin(&path)?;
        bpf::pin(&link, &path)
    }

    fn unpin(&self, attachment: Attachment) -> Result<(), FastPathError> {
        take_off(&self.pins.directory(), attachment).map_err(|source| failed(attachment, source))
    }
}

/// Ends what runs without a daemon: takes every program of ours off its interface and removes all pins, of all versions.
///
/// # Errors
///
/// When a daemon is at work here, or without permission.
pub fn flush(pins: &Pins) -> Result<(), FastPathError> {
    let _lock = pins.lock()?;
    for directory in pins.others().into_iter().chain([pins.directory()]) {
        take_all_off(&directory)?;
    }
    pins.remove()
}

/// Removes the pins of other namespaces in which nothing is left to translate: every interface that a program sat on is gone,
/// most likely with the namespace. Their maps would take memory until the next boot.
pub(super) fn remove_abandoned(pins: &Pins) {
    for other in pins.siblings() {
        let directories = || other.others().into_iter().chain([other.directory()]);
        let attached: Vec<_> = directories()
            .flat_map(|directory| {
                attachments_in(&directory).into_iter().map(move |found| (directory.clone(), found))
            })
            .collect();
        // A filter cannot be seen from here.
        let is_gone =
            |(directory, found): &(PathBuf, Attachment)| found.how != How::Tc && !is_alive(directory, *found);
        if attached.is_empty() || !attached.iter().all(is_gone) {
            continue;
        }
        // A daemon that is at work there will attach again.
        let removed = other.try_lock(1).and_then(|_lock| other.remove());
        match removed {
            Ok(()) => tracing::info!(pins = %other.root().display(), "removed what an ended namespace left"),
            Err(error) => tracing::debug!(%error, "pins without interfaces are kept"),
        }
    }
}

fn take_all_off(directory: &Path) -> Result<(), FastPathError> {
    let take = |attachment| take_off(directory, attachment).map_err(|source| failed(attachment, source));
    attachments_in(directory).into_iter().try_for_each(take)
}

/// What is attached by this version, as the pins say.
pub fn attachments(pins: &Pins) -> Vec<Attachment> {
    attachments_in(&pins.directory())
}

fn attachments_in(directory: &Path) -> Vec<Attachment> {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    entries(directory).iter().filter_map(|path| attachment(&name(path)?)).collect()
}

/// A live link of the attachment: ours, or that of another version of the program.
fn former(pins: &Pins, attachment: Attachment) -> Option<PathBuf> {
    let directories = [pins.directory()].into_iter().chain(pins.others());
    let found = directories.into_iter().find(|directory| is_alive(directory, attachment));
    found.map(|directory| directory.join(pin_name(attachment)))
}

/// True if it is pinned in `directory` and its interface is still there.
fn is_alive(directory: &Path, attachment: Attachment) -> bool {
    let path = directory.join(pin_name(attachment));
    if attachment.how == How::Tc {
        return path.is_dir() && tc::has_filter(attachment.interface, attachment.hook == Hook::Device);
    }
    link_info(&path).is_ok_and(|info| info.interface == attachment.interface)
}

fn link_info(path: &Path) -> io::Result<LinkInfo> {
    bpf::info(&bpf::get(path)?)
}

/// Takes one program off its interface and removes its pin. What is gone already is fine.
fn take_off(directory: &Path, attachment: Attachment) -> io::Result<()> {
    let path = directory.join(pin_name(attachment));
    if !path.exists() {
        return Ok(());
    }
    if attachment.how != How::Tc {
        // An error means that it is off already, for instance with its interface.
        let _ = bpf::get(&path).and_then(|link| bpf::unlink(&link));
        return remove_pin(&path);
    }
    tc::remove_filter(attachment.interface, attachment.hook == Hook::Device)?;
    let mark = directory.join(clsact_mark(attachment.interface));
    if mark.exists() && tc::remove_clsact_if_empty(attachment.interface)? {
        remove_all(&mark)?;
    }
    remove_all(&path)
}

fn remove_pin(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(attachment: Attachment, source: io::Error) -> FastPathError {
    FastPathError::Attach { interface: attachment.interface, how: attachment.how.name(), source }
}

/// Names of attachments among the pins: kind, then the interface's index. (A bpffs takes no dots.)
const NAMES: [(Hook, How, &str); 7] = [
    (Hook::Ingress, How::Tcx, "ingress-tcx-"),
    (Hook::Ingress, How::Tc, "ingress-tc-"),
    (Hook::Device, How::Tcx, "device-tcx-"),
    (Hook::Device, How::Tc, "device-tc-"),
    (Hook::Xdp, How::XdpFrags, "xdp-frags-"),
    (Hook::Xdp, How::XdpNative, "xdp-native-"),
    (Hook::Xdp, How::XdpGeneric, "xdp-generic-"),
];

pub(super) fn pin_name(Attachment { interface, hook, how }: Attachment) -> String {
    let name = NAMES.iter().find(|(of, by, _)| (*of, *by) == (hook, how));
    format!("{}{interface}", name.map_or("", |(_, _, name)| name))
}

fn attachment(name: &str) -> Option<Attachment> {
    NAMES.iter().find_map(|(hook, how, prefix)| {
        let interface = name.strip_prefix(prefix)?.parse().ok()?;
        Some(Attachment { interface, hook: *hook, how: *how })
    })
}

/// Says that the queueing discipline that filters need was added by us.
fn clsact_mark(interface: u32) -> String {
    format!("clsact-{interface}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pins_there_and_back() {
        for (hook, how, _) in NAMES {
            let there = Attachment { interface: 4711, hook, how };
            assert_eq!(attachment(&pin_name(there)), Some(there));
        }
        for other in ["XLAT_CONFIG", "clsact-3", "ingress-tcx-", "ingress-tcx-x", "xdp-3"] {
            assert_eq!(attachment(other), None, "{other}");
        }
    }
}
