//! Where programs and maps are kept while no process holds them: a directory of a BPF file system for each network
//! namespace, in it one for each layout of the maps.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xlat_fastpath::LAYOUT;

use super::error::FastPathError;
use crate::clock;
use crate::filesystem;

/// Where distributions mount it.
const USUAL: &str = "/sys/fs/bpf";
/// Where we do if nobody else has.
const OWN: &str = "/run/xlat/bpf";

/// How often, and how long apart, locking is tried.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// The pins of a network namespace.
#[derive(Clone, Debug)]
pub struct Pins {
    /// The namespace's directory.
    root: PathBuf,
}

impl Pins {
    /// The pins of this thread's network namespace: below `explicit`, which must be in a BPF file system, or in the one that
    /// the host has, or in one that is mounted for us. The directories are made.
    ///
    /// # Errors
    ///
    /// Without a BPF file system, and without the permission to make one or to write to it.
    pub fn find(explicit: Option<&Path>) -> Result<Self, FastPathError> {
        let base = match (explicit, Self::base(None)) {
            (Some(explicit), _) if is_bpffs(explicit) => explicit.to_owned(),
            (Some(explicit), _) => return Err(FastPathError::NotBpffs(explicit.to_owned())),
            (None, Some(base)) => base,
            (None, None) => mount()?,
        };
        let pins = Self::below(&base)?;
        let fail = |step, path: &Path| {
            let path = path.to_owned();
            move |source| FastPathError::Pin { step, path, source }
        };
        for path in [pins.root.parent().unwrap_or(&pins.root), &pins.root, &pins.directory()] {
            make_private(path).map_err(fail("make the directory", path))?;
        }
        pins.remove_those_of_the_dead();
        Ok(pins)
    }

    /// The pins of this thread's network namespace, if there are any. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be told, and when this user may not look.
    pub fn existing(explicit: Option<&Path>) -> Result<Option<Self>, FastPathError> {
        let Some(base) = Self::base(explicit) else { return Ok(None) };
        let pins = Self::below(&base)?;
        match fs::metadata(&pins.root) {
            Ok(found) => Ok(found.is_dir().then_some(pins)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(FastPathError::Pin { step: "look into", path: pins.root, source: error })
            }
            Err(_) => Ok(None),
        }
    }

    /// Where the host has a BPF file system that would be used.
    pub fn mounted() -> Option<PathBuf> {
        Self::base(None)
    }

    /// The namespace's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory for this version's maps.
    pub(super) fn directory(&self) -> PathBuf {
        self.root.join(format!("v{LAYOUT}"))
    }

    /// The pins of other network namespaces.
    pub(super) fn siblings(&self) -> Vec<Self> {
        let all = self.root.parent().map(entries).unwrap_or_default();
        all.into_iter().filter(|root| *root != self.root && root.is_dir()).map(|root| Self { root }).collect()
    }

    /// Directories of other versions.
    pub(super) fn others(&self) -> Vec<PathBuf> {
        let own = self.directory();
        entries(&self.root).into_iter().filter(|path| *path != own && path.is_dir()).collect()
    }

    /// Moves this version's directory out of the way: it holds what its name does not promise.
    pub(super) fn set_aside(&self) -> Result<(), FastPathError> {
        let path = self.directory();
        let fail = |step| {
            let path = path.clone();
            move |source| FastPathError::Pin { step, path, source }
        };
        let aside = self.root.join(format!("v{LAYOUT}-other"));
        remove_all(&aside).map_err(fail("remove what was set aside before for"))?;
        fs::rename(&path, aside).map_err(fail("set aside"))?;
        make_private(&path).map_err(fail("make the directory"))
    }

    /// Removes this version's directory, and makes it anew.
    pub(super) fn renew(&self) -> Result<(), FastPathError> {
        let path = self.directory();
        let fail = |step| {
            let path = path.clone();
            move |source| FastPathError::Pin { step, path, source }
        };
        remove_all(&path).map_err(fail("remove"))?;
        make_private(&path).map_err(fail("make the directory"))
    }

    /// Keeps other daemons away. One that is just ending is waited for.
    pub(super) fn lock(&self) -> Result<Lock, FastPathError> {
        self.try_lock(LOCK_TRIES)
    }

    /// The same with `tries`.
    pub(super) fn try_lock(&self, tries: u32) -> Result<Lock, FastPathError> {
        let fail = |source| FastPathError::Pin { step: "lock", path: self.root.clone(), source };
        let lock = Lock(File::open(&self.root).map_err(fail)?);
        for _ in 0..tries {
            match lock.set(libc::LOCK_EX | libc::LOCK_NB) {
                Ok(()) => return Ok(lock),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(fail(error)),
                Err(_) => std::thread::sleep(LOCK_PAUSE),
            }
        }
        Err(FastPathError::InUse(self.root.clone()))
    }

    /// Removes every pin: what is nowhere else in use ends.
    pub(super) fn remove(&self) -> Result<(), FastPathError> {
        let fail = |source| FastPathError::Pin { step: "remove", path: self.root.clone(), source };
        remove_all(&self.root).map_err(fail)
    }

    fn base(explicit: Option<&Path>) -> Option<PathBuf> {
        let usual = [Path::new(USUAL), Path::new(OWN)];
        let candidates = explicit.map_or_else(|| usual.to_vec(), |explicit| vec![explicit]);
        candidates.into_iter().find(|path| is_bpffs(path)).map(Path::to_owned)
    }

    fn below(base: &Path) -> Result<Self, FastPathError> {
        let fail = |source| FastPathError::Pin {
            step: "tell the network namespace for the pins in",
            path: base.to_owned(),
            source,
        };
        let (inode, cookie) = (clock::netns_inode().map_err(fail)?, clock::netns_cookie().map_err(fail)?);
        Ok(Self { root: base.join("xlat").join(format!("{inode}-{cookie}")) })
    }

    /// The inode of a namespace is given away again, its cookie is not: directories of our inode with another cookie
    /// belong to namespaces that are gone.
    fn remove_those_of_the_dead(&self) {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let inode = |path: &Path| Some(name(path)?.split_once('-')?.0.to_owned());
        let dead = |pins: &Self| inode(&pins.root) == inode(&self.root);
        for pins in self.siblings().into_iter().filter(dead) {
            if let Err(error) = pins.remove() {
                tracing::warn!(%error, "cannot remove the pins of a namespace that is gone");
            }
        }
    }
}

/// Keeps other daemons away as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    fn set(&self, how: libc::c_int) -> io::Result<()> {
        // SAFETY: the call takes integers only.
        let done = unsafe { libc::flock(self.0.as_raw_fd(), how) } == 0;
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, were it not that a child that is being started may have the file open too for a moment.
        let _ = self.set(libc::LOCK_UN);
    }
}

/// What a directory contains; nothing if it cannot be read.
pub(super) fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Removes `path` and what is below it. Nothing there is fine.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory for our eyes only. One that is there must be like that already.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    // SAFETY: takes nothing, cannot fail.
    let user = unsafe { libc::geteuid() };
    if found.is_dir() && found.uid() == user && found.permissions().mode() & 0o022 == 0 {
        return Ok(());
    }
    let problem = "it belongs to, or can be written by, somebody else";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

fn is_bpffs(path: &Path) -> bool {
    filesystem::kind(path) == Some(filesystem::BPF)
}

/// Mounts a BPF file system of our own.
fn mount() -> Result<PathBuf, FastPathError> {
    let path = PathBuf::from(OWN);
    let fail = |source| FastPathError::NoBpffs { path: path.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(fail)?;
    let target = CString::new(OWN).map_err(|_| fail(io::ErrorKind::InvalidInput.into()))?;
    let (kind, options) = (c"bpf".as_ptr(), c"mode=700".as_ptr());
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
    // SAFETY: all strings end with a zero byte and live for the length of the call.
    if unsafe { libc::mount(kind, target.as_ptr(), kind, flags, options.cast()) } != 0 {
        return Err(fail(io::Error::last_os_error()));
    }
    tracing::info!(path = OWN, "no BPF file system was mounted: mounted one");
    Ok(path)
}
