//! The programs loaded for a moment, to see what the kernel makes of them: no pins, no flows.

use std::fmt;
use std::io;

use xlat_fastpath::programs;

use super::bpf;
use super::error::FastPathError;
use super::program::{OBJECT, ProgramReport};
use super::tc;
use super::verify::{Code, Verified};

/// Programs that the kernel has accepted.
#[derive(Debug)]
pub(crate) struct Trial {
    ingress: Verified,
    device: Verified,
    xdp: Result<Verified, FastPathError>,
    xdp_frags: Result<Verified, FastPathError>,
}

impl Trial {
    /// Loads the programs.
    ///
    /// # Errors
    ///
    /// When those for tc are not accepted.
    pub(crate) fn load() -> Result<Self, FastPathError> {
        let code = Code::of(OBJECT)?;
        Ok(Self {
            ingress: code.verify(programs::INGRESS)?,
            device: code.verify(programs::DEVICE)?,
            xdp: code.verify(programs::XDP),
            xdp_frags: code.verify(programs::XDP_FRAGS),
        })
    }

    /// What the kernel says of those that it accepted.
    pub(crate) fn reports(&self) -> Vec<ProgramReport> {
        let all = [
            (programs::INGRESS, Some(&self.ingress)),
            (programs::DEVICE, Some(&self.device)),
            (programs::XDP, self.xdp.as_ref().ok()),
            (programs::XDP_FRAGS, self.xdp_frags.as_ref().ok()),
        ];
        all.into_iter().filter_map(|(name, program)| program?.report(name)).collect()
    }

    /// Attaches to an interface, which is for this purpose, by tcx, tc filter, XDP, and XDP with frags, one after the other.
    pub(crate) fn attach(&self, interface: u32) -> [io::Result<()>; 4] {
        let xdp = |program: &Result<Verified, FastPathError>| {
            let program = program.as_ref().map_err(|error| io::Error::other(error.to_string()))?;
            let link = bpf::link(&program.fd, interface, bpf::ATTACH_XDP, bpf::XDP_NATIVE)?;
            bpf::unlink(&link)
        };
        [
            bpf::link(&self.ingress.fd, interface, bpf::ATTACH_TCX_INGRESS, bpf::BEFORE).map(drop),
            tc::add_clsact(interface).and_then(|_| tc::set_filter(interface, false, &self.ingress.fd)),
            xdp(&self.xdp),
            xdp(&self.xdp_frags),
        ]
    }
}

impl fmt::Display for ProgramReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} instructions, {} bytes of machine code", self.instructions, self.machine_code)?;
        if let Some(verified) = self.verified {
            write!(f, ", {verified} verified")?;
        }
        let depths: Vec<String> = self.stack.iter().map(u32::to_string).collect();
        let depth = if depths.is_empty() { "unknown".to_owned() } else { depths.join("+") };
        write!(f, ", stack depth {depth}")?;
        match self.run {
            Some((time, count)) => write!(f, ", {} ns each time of {count}", time / count.max(1)),
            None => Ok(()),
        }
    }
}
