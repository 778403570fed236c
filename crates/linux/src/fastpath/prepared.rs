//! Programs made ready for a daemon that may attach programs but not have them verified, which takes `CAP_PERFMON`: a short
//! step with all rights loads them and pins them beside their maps. They are used only if they are exactly this binary's and
//! work on exactly the maps that are pinned now.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use xlat_fastpath::{maps, programs};

use super::bpf::{self, MapInfo, ProgramKind};
use super::error::FastPathError;
use super::pins::{Pins, entries, make_private, remove_all};
use super::program::{self, OBJECT, Programs, Sizes};
use super::shapes::SHAPES;

/// Begins the names of directories of programs; what follows belongs to the compiled object.
const PREFIX: &str = "programs-";

/// Makes the maps, or takes up those that are pinned, has the programs verified, and pins them for [`super::FastPath::open`].
/// What is attached goes on undisturbed, and the maps keep what is in them. False if all was there already.
///
/// # Errors
///
/// Without permission, on a kernel that does not accept the programs, or while a daemon works here.
pub fn prepare(pins: &Pins, sizes: Sizes) -> Result<bool, FastPathError> {
    let _lock = pins.lock()?;
    let (mut object, _maps, _opened) = program::open_maps(pins, sizes)?;
    // Without XDP, too: then this kernel has refused it, and would again. A new kernel begins without pins.
    if find(pins).is_ok() {
        return Ok(false);
    }
    let loaded = Programs::load(&mut object)?;
    let directory = directory(pins);
    let fail = |step, path: &Path| {
        let path = path.to_owned();
        move |source| FastPathError::Pin { step, path, source }
    };
    for former in entries(&pins.directory()).into_iter().filter(|path| is_of_programs(path)) {
        remove_all(&former).map_err(fail("remove", &former))?;
    }
    make_private(&directory).map_err(fail("make the directory", &directory))?;
    // The only map that a daemon has nothing to do with; its number is needed to know all of a program's.
    let path = directory.join(maps::ROUTES);
    let routes =
        object.map(maps::ROUTES).ok_or_else(|| FastPathError::Mismatch("it notes no routes".to_owned()))?;
    routes.pin(&path).map_err(|error| fail("pin", &path)(std::io::Error::other(error)))?;
    // Without the last one, none counts: a step that was interrupted leaves nothing that could be taken for the whole.
    let all = [
        (programs::XDP, loaded.xdp.as_ref()),
        (programs::XDP_FRAGS, loaded.xdp_frags.as_ref()),
        (programs::DEVICE, Some(&loaded.device)),
        (programs::INGRESS, Some(&loaded.ingress)),
    ];
    for (name, program) in all {
        let path = directory.join(name);
        program.map_or(Ok(()), |program| bpf::pin(program, &path)).map_err(fail("pin", &path))?;
    }
    Ok(true)
}

/// The programs that were made ready, or why there are none that can be used.
pub(super) fn find(pins: &Pins) -> Result<Programs, String> {
    let directory = directory(pins);
    if !directory.join(programs::INGRESS).exists() {
        let other = entries(&pins.directory()).into_iter().any(|path| is_of_programs(&path));
        return Err(match other {
            true => "those that were made ready belong to another version of xlat".to_owned(),
            false => "none were made ready".to_owned(),
        });
    }
    let maps = map_ids(pins).map_err(|error| format!("the maps cannot be looked at: {error}"))?;
    let one = |name: &str, kind: ProgramKind| {
        let path = directory.join(name);
        let program =
            bpf::get(&path).map_err(|error| format!("{} cannot be opened: {error}", path.display()))?;
        let (found, used) =
            bpf::program_maps(&program).map_err(|error| format!("{name} cannot be looked at: {error}"))?;
        if found.kind != kind as u32 {
            return Err(format!("{name} is not what its name says"));
        }
        // An old pin beside new maps would translate by what nobody tells it any more.
        if used.is_empty() || !used.iter().all(|map| maps.contains(map)) {
            return Err(format!("{name} was made ready for other maps"));
        }
        Ok(program)
    };
    let extra = |name: &str| {
        let there = fs::symlink_metadata(directory.join(name)).is_ok();
        there.then(|| one(name, ProgramKind::Xdp)).transpose()
    };
    Ok(Programs {
        ingress: one(programs::INGRESS, ProgramKind::SchedClassifier)?,
        device: one(programs::DEVICE, ProgramKind::SchedClassifier)?,
        xdp: extra(programs::XDP)?,
        xdp_frags: extra(programs::XDP_FRAGS)?,
    })
}

/// Where this binary's programs are.
fn directory(pins: &Pins) -> PathBuf {
    // With fixed keys: who makes them ready and who takes them is the same binary.
    let mut hasher = DefaultHasher::new();
    OBJECT.hash(&mut hasher);
    pins.directory().join(format!("{PREFIX}{:016x}", hasher.finish()))
}

fn is_of_programs(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// The numbers that the kernel has given to the maps that are pinned.
fn map_ids(pins: &Pins) -> std::io::Result<HashSet<u32>> {
    let id = |path: PathBuf| Ok(bpf::info::<MapInfo>(&bpf::get(&path)?)?.id);
    let shared = SHAPES.iter().map(|shape| pins.directory().join(shape.name));
    shared.chain([directory(pins).join(maps::ROUTES)]).map(id).collect()
}
