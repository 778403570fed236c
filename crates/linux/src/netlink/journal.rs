//! The journal: every change of the host, written down before it is made, so that it can be taken back by this
//! process when it ends or by the next one if it does not come to that.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::change::Change;
use crate::clock;

const VERSION: u32 = 1;

/// The changes of one process to one network namespace for one device.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    content: Content,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    version: u32,
    boot: String,
    /// Inode of the network namespace.
    namespace: u64,
    /// Its cookie: the inode alone may be another namespace's by now.
    #[serde(default)]
    cookie: u64,
    pub(super) device: String,
    pub(super) pid: u32,
    /// When the process was started: a pid alone may be another process's by now.
    process_start: u64,
    /// The process has ended, or is about to, and has left the changes standing on purpose.
    #[serde(default)]
    pub(super) left: bool,
    /// In the order they were made.
    pub(super) changes: Vec<Change>,
}

impl Content {
    /// True if the process that wrote it is alive and has not left it.
    pub(super) fn is_live(&self) -> bool {
        !self.left && clock::process_start(self.pid) == Some(self.process_start)
    }

    /// True if it tells of the running system: neither of an earlier boot nor of another namespace.
    fn is_of(&self, other: &Self) -> bool {
        let name = |content: &Self| (content.version, content.namespace, content.cookie);
        name(self) == name(other) && self.boot == other.boot
    }
}

impl Journal {
    /// An empty journal of this process; the file appears with the first change.
    pub(super) fn new(directory: &Path, device: &str) -> io::Result<Self> {
        let namespace = clock::netns_inode()?;
        let pid = std::process::id();
        let content = Content {
            version: VERSION,
            boot: clock::boot_of(directory)?,
            namespace,
            cookie: clock::netns_cookie()?,
            device: device.to_owned(),
            pid,
            process_start: clock::process_start(pid).unwrap_or_default(),
            left: false,
            changes: Vec::new(),
        };
        Ok(Self { path: directory.join(format!("{namespace}-{device}.json")), content })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn changes(&self) -> &[Change] {
        &self.content.changes
    }

    /// What the file of this device says, if it tells of this boot and namespace. A file that cannot be
    /// understood tells of nothing: it was never written by a rename.
    pub(super) fn stored(&self) -> io::Result<Option<Content>> {
        match self.path.parent().map(check_owner) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(read(&self.path)?.filter(|content| content.is_of(&self.content)))
    }

    /// The journals of other devices of this namespace, also of processes that are gone: their changes still stand.
    pub(super) fn others(&self) -> Vec<Content> {
        let Some(directory) = self.path.parent().filter(|directory| check_owner(directory).is_ok()) else {
            return Vec::new();
        };
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths
            .filter(|path| *path != self.path && path.extension().is_some_and(|suffix| suffix == "json"))
            .filter_map(|path| read(&path).ok()?)
            .filter(|content| content.is_of(&self.content))
            .collect()
    }

    /// Writes down `changes` before they are made.
    pub(super) fn add(&mut self, changes: &[Change]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.content.changes.extend_from_slice(changes);
        self.save()
    }

    /// Strikes out what was taken back, or was not made after all.
    pub(super) fn remove(&mut self, changes: &[Change]) -> io::Result<()> {
        self.content.changes.retain(|change| !changes.contains(change));
        self.save()
    }

    /// Takes up what another process has left: its changes are ours from now on.
    pub(super) fn adopt(&mut self, former: Content) -> io::Result<()> {
        self.content.changes = former.changes;
        self.save()
    }

    /// Says that the changes are to stay although this process ends.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.content.left = true;
        self.save()
    }

    /// Strikes out everything and removes the file.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.content.changes.clear();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces the file in one step: a crash leaves the old or the new one, never a part.
    fn save(&self) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            check_owner(directory)?;
        }
        let partial = self.path.with_extension("partial");
        let content = serde_json::to_vec_pretty(&self.content)?;
        let done = fs::write(&partial, content).and_then(|()| fs::rename(&partial, &self.path));
        if done.is_err() {
            // What is wrong with the disk has been found out; what is left there does not matter.
            let _ = fs::remove_file(&partial);
        }
        done
    }
}

/// Where journals are kept: `/run/xlat` where that can be written, else the user's runtime directory, else the
/// directory for temporary files.
pub(super) fn default_directory() -> PathBuf {
    let shared = PathBuf::from("/run/xlat");
    if fs::create_dir_all(&shared).is_ok() && is_writable(&shared) {
        return shared;
    }
    let own = env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
    match own {
        Some(own) => PathBuf::from(own).join("xlat"),
        None => env::temp_dir().join(format!("xlat-{}", user())),
    }
}

/// Who this process acts as.
fn user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// What a journal says is done with our rights: nobody else may be able to write one.
fn check_owner(directory: &Path) -> io::Result<()> {
    let found = fs::metadata(directory)?;
    let writable_by_others = found.mode() & 0o022 != 0;
    if found.uid() == user() && !writable_by_others {
        return Ok(());
    }
    let problem = format!("{} belongs to, or can be written by, somebody else", directory.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

fn is_writable(directory: &Path) -> bool {
    let probe = directory.join(format!(".probe-{}", std::process::id()));
    let done = fs::File::create(&probe).is_ok();
    // Where it could not be made there is nothing to remove.
    let _ = fs::remove_file(&probe);
    done
}

fn read(path: &Path) -> io::Result<Option<Content>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctl(name: &str) -> Change {
        Change::Sysctl { name: name.into(), before: "0".into(), after: "1".into() }
    }

    #[test]
    fn what_is_written_is_read_and_struck_out() {
        let directory = env::temp_dir().join(format!("xlat-journal-{}", std::process::id()));
        let mut journal = Journal::new(&directory, "x0").unwrap();
        assert_eq!(journal.stored().unwrap(), None);
        journal.add(&[sysctl("a"), sysctl("b")]).unwrap();
        let stored = journal.stored().unwrap().unwrap();
        assert!(stored.is_live());
        assert_eq!(stored.changes, [sysctl("a"), sysctl("b")]);
        journal.remove(&[sysctl("a")]).unwrap();
        assert_eq!(journal.stored().unwrap().unwrap().changes, [sysctl("b")]);
        journal.leave().unwrap();
        let left = journal.stored().unwrap().unwrap();
        assert!(!left.is_live());
        let mut next = Journal::new(&directory, "x0").unwrap();
        next.adopt(left).unwrap();
        let adopted = journal.stored().unwrap().unwrap();
        assert!(adopted.is_live() && adopted.changes == [sysctl("b")]);
        let mut journal = next;
        let other = Journal::new(&directory, "x1").unwrap();
        assert_eq!(other.others(), [stored_after(&journal)]);
        fs::write(journal.path(), b"{ half a fi").unwrap();
        assert_eq!(journal.stored().unwrap(), None);
        journal.clear().unwrap();
        journal.clear().unwrap();
        fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn no_room_leaves_the_former_file() {
        let directory = env::temp_dir().join(format!("xlat-journal-full-{}", std::process::id()));
        let mut journal = Journal::new(&directory, "x0").unwrap();
        journal.add(&[sysctl("a")]).unwrap();
        std::os::unix::fs::symlink("/dev/full", journal.path().with_extension("partial")).unwrap();
        journal.add(&[sysctl("b")]).unwrap_err();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        assert_eq!(journal.stored().unwrap().unwrap().changes, [sysctl("a")]);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt;

        let directory = env::temp_dir().join(format!("xlat-journal-open-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        let mut journal = Journal::new(&directory, "x0").unwrap();
        assert_eq!(journal.add(&[sysctl("a")]).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(journal.stored().is_err() && journal.others().is_empty());
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        journal.add(&[sysctl("a")]).unwrap();
        fs::remove_dir_all(&directory).unwrap();
    }

    fn stored_after(journal: &Journal) -> Content {
        journal.stored().unwrap().unwrap()
    }

    #[test]
    fn a_journal_of_another_boot_or_a_dead_process_is_not_live() {
        let journal = Journal::new(Path::new("/nonexistent"), "x0").unwrap();
        let mut content = journal.content;
        let here = content.clone();
        assert!(content.is_of(&here) && content.is_live());
        content.process_start += 1;
        assert!(!content.is_live());
        assert!(content.is_of(&here));
        assert!(!Content { boot: "another".into(), ..here.clone() }.is_of(&here));
        assert!(!Content { namespace: here.namespace + 1, ..here.clone() }.is_of(&here));
        // The inode was given away again.
        assert!(!Content { cookie: here.cookie + 1, ..here.clone() }.is_of(&here));
    }
}
