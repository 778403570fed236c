//! Programs given to the verifier one by one, to learn what it says of them: aya drops its log of a program that is accepted.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use aya::Ebpf;
use aya::maps::Map;
use aya_obj::{Object, ProgramSection};
use xlat_fastpath::programs;

use super::bpf::{self, ATTACH_XDP, ProgramKind};
use super::error::FastPathError;
use super::program::{self, ProgramReport, Sizes, refused};

/// `BPF_F_XDP_HAS_FRAGS`.
const HAS_FRAGS: u32 = 1 << 5;
/// `BPF_LOG_STATS`: a few lines on what the verifier did.
const STATISTICS: u32 = 1 << 2;
/// `BPF_LOG_LEVEL1`: why it refuses.
const REASONS: u32 = 1;

/// Programs with their maps, not loaded yet.
pub(super) struct Code {
    object: Object,
    /// The maps live as long.
    _maps: Ebpf,
}

/// A program that the kernel has accepted.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) fd: OwnedFd,
    /// Bytes of stack of the program and of each of its functions; empty if the kernel does not say.
    stack: Vec<u32>,
}

impl Code {
    /// The programs of a compiled object, with new maps.
    pub(super) fn of(object: &[u8]) -> Result<Self, FastPathError> {
        let maps = program::load(object, None, Sizes { max_flows: 1, max_eam: 1 })?;
        let fail = |error: &dyn std::error::Error| FastPathError::Mismatch(error.to_string());
        let mut object = Object::parse(object).map_err(|error| fail(&error))?;
        let shapes = object.maps.clone();
        let found = shapes.iter().filter_map(|(name, shape)| Some((name.as_str(), fd(&maps, name)?, shape)));
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_maps(found, &sections).map_err(|error| fail(&error))?;
        object.relocate_calls(&sections).map_err(|error| fail(&error))?;
        Ok(Self { object, _maps: maps })
    }

    /// Lets the kernel verify a program.
    pub(super) fn verify(&self, name: &'static str) -> Result<Verified, FastPathError> {
        let missing = || FastPathError::Mismatch(format!("the object has no program {name}"));
        let program = self.object.programs.get(name).ok_or_else(missing)?;
        let function = self.object.functions.get(&program.function_key()).ok_or_else(missing)?;
        let (kind, attach_type, flags) = match program.section {
            ProgramSection::Xdp { frags, .. } => {
                (ProgramKind::Xdp, ATTACH_XDP, if frags { HAS_FRAGS } else { 0 })
            }
            _ => (ProgramKind::SchedClassifier, 0, 0),
        };
        let load = |level: u32, log: &mut [u8]| {
            bpf::load(kind, (attach_type, flags), &function.instructions, &program.license, (level, log))
        };
        let mut log = vec![0; 1 << 16];
        match load(STATISTICS, &mut log) {
            Ok(fd) => Ok(Verified { fd, stack: stack(text(&log)) }),
            // Once more: the reason is at the end of a log of any length.
            Err(error) => {
                let mut log = vec![0; 1 << 24];
                match load(REASONS, &mut log) {
                    Ok(fd) => Ok(Verified { fd, stack: Vec::new() }),
                    Err(_) => Err(refused(name, error, text(&log))),
                }
            }
        }
    }
}

impl Verified {
    pub(super) fn report(&self, name: &'static str) -> Option<ProgramReport> {
        Some(ProgramReport { stack: self.stack.clone(), ..program::report(name, &self.fd)? })
    }
}

/// A program's name, and what the kernel says of it.
pub type Verdict = (&'static str, Result<ProgramReport, FastPathError>);

/// What the kernel says of each program of a compiled object.
///
/// # Errors
///
/// Without permission, and when the object is none of ours. That a program is refused is said in its place.
pub fn verify(object: &[u8]) -> Result<Vec<Verdict>, FastPathError> {
    let code = Code::of(object)?;
    let unknown = || FastPathError::Mismatch("the kernel does not describe it".to_owned());
    let one = |name| code.verify(name)?.report(name).ok_or_else(unknown);
    Ok(programs::ALL.map(|name| (name, one(name))).into())
}

/// A map's descriptor. There are maps of these kinds only.
fn fd(maps: &Ebpf, name: &str) -> Option<RawFd> {
    match maps.map(name)? {
        Map::Array(map) | Map::HashMap(map) | Map::LpmTrie(map) | Map::PerCpuArray(map) => {
            Some(map.fd().as_fd().as_raw_fd())
        }
        _ => None,
    }
}

/// A log up to its end.
fn text(log: &[u8]) -> &str {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    std::str::from_utf8(&log[..end]).unwrap_or_default()
}

/// The bytes of stack in a log with the line "stack depth 264+80+64".
fn stack(log: &str) -> Vec<u32> {
    let depths = log.lines().find_map(|line| line.trim().strip_prefix("stack depth "));
    let parsed: Option<Vec<u32>> =
        depths.and_then(|depths| depths.split('+').map(|depth| depth.trim().parse().ok()).collect());
    parsed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::stack;

    #[test]
    fn depths_are_found_or_not_known() {
        let log = "func#0 @0\nverification time 103 usec\nstack depth 264+80+0\nprocessed 9 insns (limit 1000000)\n";
        assert_eq!(stack(log), [264, 80, 0]);
        assert_eq!(stack("stack depth 8"), [8]);
        for unknown in ["", "processed 9 insns", "stack depth", "stack depth 8+x", "stack depth -8"] {
            assert!(stack(unknown).is_empty(), "{unknown}");
        }
    }
}
