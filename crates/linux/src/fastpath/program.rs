//! Loading: the compiled object, its maps made or taken up from their pins, its programs verified by the kernel.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};
use xlat_fastpath::{LAYOUT, maps, programs};

use super::attach::remove_abandoned;
use super::bpf::{self, MapInfo};
use super::error::FastPathError;
use super::maps::Maps;
use super::pins::{Lock, Pins};
use super::prepared;
use super::shapes::{Entries, SHAPES};
use crate::privileges::Capabilities;

/// The compiled programs (`make bpf`).
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/xlat.bpf.o");

/// Characters of the verifier's log that an error keeps.
const LOG_MAX: usize = 2000;

/// Room in the maps, when they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Flows that can be known.
    pub max_flows: u32,
    /// EAM entries of all tables, and prefixes of denylists.
    pub max_eam: u32,
}

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing.
    Fresh,
    /// The maps of this version, with all that is in them. Their room may be another one than was asked for.
    TakenOver {
        /// The room they have.
        sizes: Sizes,
    },
    /// Maps of other versions, whose flows are lost. Programs that are attached stay so until
    /// [`FastPath::attach_ingress`] and [`FastPath::attach_device`] replace them; then [`FastPath::remove_others`] is due.
    Incompatible {
        /// The names of their directories, for people.
        found: Vec<String>,
    },
}

/// A program as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramReport {
    /// Its name.
    pub name: &'static str,
    /// Instructions that the verifier looked at; `None` before Linux 5.16.
    pub verified: Option<u32>,
    /// Its instructions.
    pub instructions: u32,
    /// Bytes of stack of the program and of each of its functions, as far as the verifier was asked and says.
    pub stack: Vec<u32>,
    /// Bytes of its machine code.
    pub machine_code: u32,
    /// Time it ran in nanoseconds, and how often: counted while `kernel.bpf_stats_enabled` is set.
    pub run: Option<(u64, u64)>,
}

/// The programs, loaded, and their maps. Dropping it leaves everything in the kernel as it is.
#[derive(Debug)]
pub struct FastPath {
    maps: Maps,
    pub(super) pins: Pins,
    pub(super) programs: Programs,
    /// Keeps other daemons away.
    _lock: Lock,
}

/// The programs, accepted by the kernel.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) ingress: OwnedFd,
    pub(super) device: OwnedFd,
    /// `None` where the kernel does not take it.
    pub(super) xdp: Option<OwnedFd>,
    /// The same.
    pub(super) xdp_frags: Option<OwnedFd>,
}

impl Programs {
    /// Lets the kernel verify them.
    pub(super) fn load(object: &mut Ebpf) -> Result<Self, FastPathError> {
        Ok(Self {
            ingress: program(object, programs::INGRESS)?,
            device: program(object, programs::DEVICE)?,
            xdp: optional(program(object, programs::XDP)),
            xdp_frags: optional(program(object, programs::XDP_FRAGS)),
        })
    }
}

impl FastPath {
    /// Takes the programs that were made ready ([`super::prepare`]), or loads them. Maps that are pinned are taken up, and
    /// what is attached goes on running meanwhile, with the former programs until it is attached anew.
    ///
    /// # Errors
    ///
    /// Without permission, on a kernel that does not accept the programs, or while another daemon works here.
    pub fn open(pins: &Pins, sizes: Sizes) -> Result<(Self, Opened), FastPathError> {
        let lock = pins.lock()?;
        remove_abandoned(pins);
        let (mut object, maps, opened) = open_maps(pins, sizes)?;
        let programs = match prepared::find(pins) {
            Ok(ready) => ready,
            Err(why) => Programs::load(&mut object).map_err(|error| not_prepared(error, why))?,
        };
        // Only now: maps that are configured count as used.
        if maps.config().seed == 0 {
            let seed = RandomState::new().build_hasher().finish();
            maps.configure(|config| config.seed = seed)?;
        }
        let fast_path = Self { maps, pins: pins.clone(), programs, _lock: lock };
        Ok((fast_path, opened))
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// What the kernel says of each program.
    pub fn programs(&self) -> Vec<ProgramReport> {
        let all = [
            (programs::INGRESS, Some(&self.programs.ingress)),
            (programs::DEVICE, Some(&self.programs.device)),
            (programs::XDP, self.programs.xdp.as_ref()),
            (programs::XDP_FRAGS, self.programs.xdp_frags.as_ref()),
        ];
        all.into_iter().filter_map(|(name, program)| report(name, program?)).collect()
    }
}

/// Makes or takes up the maps, and links the programs with them.
pub(super) fn open_maps(pins: &Pins, sizes: Sizes) -> Result<(Ebpf, Maps, Opened), FastPathError> {
    let opened = inspect(pins, sizes)?;
    let object = load(OBJECT, Some(pins), sizes)?;
    // aya has just made or opened what is pinned now.
    let maps = Maps::open(pins)?
        .ok_or_else(|| FastPathError::Mismatch(format!("the object has no map {}", maps::CONFIG)))?;
    Ok((object, maps, opened))
}

/// Finds out what is pinned, and sets aside what is not what its name says.
fn inspect(pins: &Pins, wanted: Sizes) -> Result<Opened, FastPathError> {
    let directory = pins.directory();
    let mut found_any = false;
    let mut sizes = Sizes { max_flows: 0, max_eam: 0 };
    let mut problem = None;
    for shape in &SHAPES {
        let path = directory.join(shape.name);
        if !path.exists() {
            continue;
        }
        found_any = true;
        let map = bpf::get(&path).map_err(|source| permission(source, "open a pinned map"))?;
        let info: MapInfo = bpf::info(&map).map_err(|source| permission(source, "read a map's sizes"))?;
        problem = problem.or(shape.contradiction(&info));
        match shape.entries {
            Entries::Flows => sizes.max_flows = info.max_entries,
            Entries::Eam => sizes.max_eam = info.max_entries,
            Entries::Exactly(_) | Entries::Any => {}
        }
    }
    if found_any && problem.is_none() {
        // Zero: made for a daemon, but never configured by one. Then there is nothing in them that could be lost.
        match Maps::open(pins).ok().flatten().map(|maps| maps.config().layout) {
            Some(0) => {
                found_any = false;
                let room = Sizes { max_flows: wanted.max_flows.max(1), max_eam: wanted.max_eam.max(1) };
                if sizes != room {
                    pins.renew()?;
                }
            }
            Some(layout) if layout != LAYOUT => problem = Some(format!("they say layout {layout}")),
            _ => {}
        }
    }
    if let Some(problem) = problem {
        tracing::warn!("pinned maps are not what their names say, and are set aside: {problem}");
        pins.set_aside()?;
        found_any = false;
    }
    let name = |path: std::path::PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    let others: Vec<String> = pins.others().into_iter().filter_map(name).collect();
    Ok(match (found_any, others.is_empty()) {
        (true, _) => Opened::TakenOver { sizes },
        (false, true) => Opened::Fresh,
        (false, false) => Opened::Incompatible { found: others },
    })
}

/// Makes the maps, or takes up those that are pinned; without `pins` they go with the programs.
pub(super) fn load(object: &[u8], pins: Option<&Pins>, sizes: Sizes) -> Result<Ebpf, FastPathError> {
    let directory = pins.map(Pins::directory);
    let mut loader = EbpfLoader::new();
    // The programs need no type information of the running kernel.
    loader.btf(None);
    for shape in &SHAPES {
        if let Some(directory) = &directory {
            loader.map_pin_path(shape.name, directory.join(shape.name));
        }
        match shape.entries {
            Entries::Flows => loader.map_max_entries(shape.name, sizes.max_flows.max(1)),
            Entries::Eam => loader.map_max_entries(shape.name, sizes.max_eam.max(1)),
            Entries::Exactly(_) | Entries::Any => &mut loader,
        };
    }
    loader.load(object).map_err(|error| match error {
        EbpfError::MapError(error) => match system_error(&error) {
            Some(source) => permission(source, "make a map"),
            None => FastPathError::Mismatch(chain(&error)),
        },
        error => FastPathError::Mismatch(chain(&error)),
    })
}

/// Lets the kernel verify a program.
pub(super) fn program(object: &mut Ebpf, name: &'static str) -> Result<OwnedFd, FastPathError> {
    let missing = || FastPathError::Mismatch(format!("the object has no program {name}"));
    let loaded = match object.program_mut(name).ok_or_else(missing)? {
        Program::SchedClassifier(program) => program.load().and_then(|()| program.fd()),
        Program::Xdp(program) => program.load().and_then(|()| program.fd()),
        _ => return Err(FastPathError::Mismatch(format!("{name} is no tc or XDP program"))),
    };
    let other = |reason| FastPathError::Refused { program: name, reason };
    let fd = loaded.map_err(|error| match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            refused(name, io_error, &verifier_log.to_string())
        }
        error => other(chain(&error)),
    })?;
    fd.as_fd().try_clone_to_owned().map_err(|error| other(error.to_string()))
}

/// The error for a program that the kernel does not take, with what its verifier wrote.
pub(super) fn refused(name: &'static str, error: io::Error, log: &str) -> FastPathError {
    // Without it the verifier also checks what a processor may do out of turn, and finds such a program too large.
    let trusted = Capabilities::effective()
        .is_ok_and(|all| all.has(Capabilities::PERFMON) || all.has(Capabilities::SYS_ADMIN));
    if error.raw_os_error() == Some(libc::EPERM) || !trusted {
        return FastPathError::NoPermission(error);
    }
    FastPathError::Refused { program: name, reason: format!("{error}\n{}", tail(log)) }
}

/// Tells someone who may do everything but load why there is nothing to attach.
fn not_prepared(error: FastPathError, why: String) -> FastPathError {
    let may_attach = Capabilities::effective()
        .is_ok_and(|all| all.has(Capabilities::NET_ADMIN) && all.has(Capabilities::BPF));
    match error {
        FastPathError::NoPermission(_) if may_attach => FastPathError::NotPrepared { why },
        error => error,
    }
}

/// XDP is an extra: without it tc does the work.
fn optional(program: Result<OwnedFd, FastPathError>) -> Option<OwnedFd> {
    program.inspect_err(|error| tracing::warn!("without XDP: {error}")).ok()
}

pub(super) fn report(name: &'static str, program: &OwnedFd) -> Option<ProgramReport> {
    let info: bpf::ProgramInfo = bpf::info(program).ok()?;
    Some(ProgramReport {
        name,
        verified: (info.verified > 0).then_some(info.verified),
        instructions: info.xlated_len / 8,
        stack: Vec::new(),
        machine_code: info.jited_len,
        run: (info.run_count > 0).then_some((info.run_time_ns, info.run_count)),
    })
}

fn permission(source: io::Error, step: &'static str) -> FastPathError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => FastPathError::NoPermission(source),
        _ => FastPathError::Map { step, source },
    }
}

/// The kernel's answer somewhere behind an error.
fn system_error(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let found = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    match found {
        Some(code) => Some(io::Error::from_raw_os_error(code)),
        None => system_error(error.source()?),
    }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The end of a log, where the reason is.
fn tail(log: &str) -> &str {
    let log = log.trim_end();
    let start = log.len().saturating_sub(LOG_MAX);
    (start..=log.len()).find_map(|at| log.get(at..)).unwrap_or_default()
}
