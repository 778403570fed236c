//! What kind of file system a path is on (statfs(2)).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// `TMPFS_MAGIC`: in memory, so nothing in it outlives a boot.
pub(crate) const TMPFS: libc::c_long = 0x0102_1994;
/// `BPF_FS_MAGIC`.
pub(crate) const BPF: libc::c_long = 0xcafe_4a11;

/// The kind; `None` if there is no such path.
pub(crate) fn kind(path: &Path) -> Option<libc::c_long> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: `statfs` consists of integers: all zero bytes are a valid value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte, and `found` is ours to write.
    let done = unsafe { libc::statfs(path.as_ptr(), &raw mut found) } == 0;
    done.then_some(found.f_type as libc::c_long & 0xffff_ffff)
}
