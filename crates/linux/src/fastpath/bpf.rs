//! The bpf(2) system call, as far as it is used here: maps one entry or a batch at a time, pins, links, and what the kernel
//! says of them. Programs are loaded by `aya`, which has no batches and attaches by name only.

use std::ffi::{CStr, CString};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::bpf_insn;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `BPF_MAP_TYPE_HASH`.
pub(super) const HASH: u32 = 1;
/// `BPF_MAP_TYPE_ARRAY`.
pub(super) const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_PERCPU_ARRAY`.
pub(super) const PER_CPU_ARRAY: u32 = 6;
/// `BPF_MAP_TYPE_LPM_TRIE`.
pub(super) const LPM_TRIE: u32 = 11;
/// `BPF_F_MMAPABLE`.
pub(super) const MMAPABLE: u32 = 1 << 10;

/// `BPF_XDP`.
pub(super) const ATTACH_XDP: u32 = 37;
/// `BPF_TCX_INGRESS`.
pub(super) const ATTACH_TCX_INGRESS: u32 = 46;
/// `BPF_TCX_EGRESS`.
pub(super) const ATTACH_TCX_EGRESS: u32 = 47;
/// `BPF_F_BEFORE`; without saying before what: before all others.
pub(super) const BEFORE: u32 = 1 << 3;
/// `XDP_FLAGS_SKB_MODE`.
pub(super) const XDP_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
pub(super) const XDP_NATIVE: u32 = 1 << 2;

/// Entries of a batch.
pub(super) const BATCH: usize = 4096;
/// Entries of the largest batch that is tried: a bucket of a hash map must fit into one.
const BATCH_MAX: usize = BATCH << 8;

/// Maps of a program that are asked for: more than ours have.
const MAPS_MAX: usize = 64;

/// The commands of the system call.
#[derive(Clone, Copy)]
enum Command {
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ProgramLoad = 5,
    Pin = 6,
    Get = 7,
    Info = 15,
    LookupBatch = 24,
    UpdateBatch = 26,
    DeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkDetach = 34,
}

/// Where a program can be attached.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProgramKind {
    /// `BPF_PROG_TYPE_SCHED_CLS`.
    SchedClassifier = 3,
    /// `BPF_PROG_TYPE_XDP`.
    Xdp = 6,
}

/// What the kernel says of a map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub(super) struct MapInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

/// What the kernel says of an XDP or tcx link.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub(super) struct LinkInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) program: u32,
    zero: u32,
    /// The interface; 0 when that is gone.
    pub(super) interface: u32,
    /// Where on it (tcx only).
    pub(super) attach_type: u32,
}

/// What the kernel says of a program: the head of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub(super) struct ProgramInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    tag: u64,
    /// Bytes of machine code.
    pub(super) jited_len: u32,
    /// Bytes of verified instructions, eight each.
    pub(super) xlated_len: u32,
    instructions: [u64; 2],
    loaded_at: u64,
    created_by: u32,
    /// How many maps it uses; asked with room, how much there is.
    map_count: u32,
    /// Where their numbers are to be written.
    maps: u64,
    rest: [u64; 16],
    /// Time it ran, in nanoseconds, and how often; counted only while `kernel.bpf_stats_enabled` is set.
    pub(super) run_time_ns: u64,
    pub(super) run_count: u64,
    recursion_misses: u64,
    /// Instructions that the verifier looked at (Linux 5.16).
    pub(super) verified: u32,
    attach_btf_object: u32,
}

/// A map whose keys are `K` and whose values are `V`; both in the kernel's layout.
#[derive(Debug)]
pub(super) struct Map<K, V> {
    fd: OwnedFd,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> Map<K, V>
where
    K: FromBytes + IntoBytes + Immutable + Clone,
    V: FromBytes + IntoBytes + Immutable + Clone,
{
    /// The map behind `fd`; an error if the kernel's sizes differ from the types'.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let info: MapInfo = info(&fd)?;
        let sizes = (info.key_size as usize, info.value_size as usize);
        if sizes == (size_of::<K>(), size_of::<V>()) {
            return Ok(Self { fd, types: PhantomData });
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("a map has entries of {sizes:?} bytes")))
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        let found = lookup(&self.fd, key.as_bytes(), value.as_mut_bytes())?;
        Ok(found.then_some(value))
    }

    /// Sets `key` to `value`.
    pub(super) fn set(&self, key: &K, value: &V) -> io::Result<()> {
        let mut attr = self.element(key.as_bytes(), value.as_bytes().as_ptr() as u64);
        bpf(Command::MapUpdate, &mut attr).map(drop)
    }

    /// Removes `key`; false if it was not there.
    pub(super) fn delete(&self, key: &K) -> io::Result<bool> {
        present(bpf(Command::MapDelete, &mut self.element(key.as_bytes(), 0)))
    }

    /// All keys, read one by one before anything else is done.
    pub(super) fn keys(&self) -> io::Result<Vec<K>> {
        let mut all: Vec<K> = Vec::new();
        loop {
            let mut next = K::new_zeroed();
            let key = all.last().map_or(0, |key| key.as_bytes().as_ptr() as u64);
            let (map, value) = (self.raw(), next.as_mut_bytes().as_mut_ptr() as u64);
            let mut attr = Element { map, key, value, ..Element::default() };
            if !present(bpf(Command::MapNextKey, &mut attr))? {
                return Ok(all);
            }
            all.push(next);
        }
    }

    /// Sets every key to the value of the same place, in order. On an error, how many were set before it.
    pub(super) fn set_all(&self, keys: &[K], values: &[V]) -> Result<(), (usize, io::Error)> {
        let count = keys.len().min(values.len());
        let mut done = 0;
        while done < count {
            let some = (count - done).min(BATCH);
            let (keys, values) = (&keys[done..done + some], &values[done..done + some]);
            let mut attr =
                self.batch(keys.as_bytes().as_ptr() as u64, values.as_bytes().as_ptr() as u64, some);
            let result = bpf(Command::UpdateBatch, &mut attr);
            done += (attr.count as usize).min(some);
            result.map_err(|error| (done, error))?;
        }
        Ok(())
    }

    /// Removes `keys`; those that are not there do not matter.
    pub(super) fn delete_all(&self, keys: &[K]) -> io::Result<()> {
        let mut rest = keys;
        while !rest.is_empty() {
            let some = rest.len().min(BATCH);
            let mut attr = self.batch(rest[..some].as_bytes().as_ptr() as u64, 0, some);
            let done = match present(bpf(Command::DeleteBatch, &mut attr))? {
                true => some,
                // The batch ends at a key that is not there.
                false => (attr.count as usize).min(some - 1) + 1,
            };
            rest = &rest[done..];
        }
        Ok(())
    }

    /// Gives every entry of a hash map to `each`, a part of the map at a time, while others go on changing it: an entry that
    /// is there all the time is seen once.
    pub(super) fn for_each(&self, mut each: impl FnMut(&[K], &[V]) -> io::Result<()>) -> io::Result<()> {
        let (mut keys, mut values) = (vec![K::new_zeroed(); BATCH], vec![V::new_zeroed(); BATCH]);
        let (mut token, mut next, mut begun) = (0u32, 0u32, false);
        loop {
            let (at_keys, at_values) =
                (keys.as_mut_bytes().as_mut_ptr() as u64, values.as_mut_bytes().as_mut_ptr() as u64);
            let mut attr = Batch {
                from: if begun { (&raw const token) as u64 } else { 0 },
                to: (&raw mut next) as u64,
                ..self.batch(at_keys, at_values, keys.len())
            };
            let result = bpf(Command::LookupBatch, &mut attr);
            match result {
                // A bucket that does not fit.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && keys.len() < BATCH_MAX => {
                    keys.resize(keys.len() * 2, K::new_zeroed());
                    values.resize(values.len() * 2, V::new_zeroed());
                    continue;
                }
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
                _ => {}
            }
            let count = (attr.count as usize).min(keys.len());
            each(&keys[..count], &values[..count])?;
            if result.is_err() {
                return Ok(());
            }
            (token, begun) = (next, true);
        }
    }

    /// Bytes of memory that the map takes, by the kernel's own count.
    pub(super) fn memory(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        line.and_then(|value| value.trim().parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn raw(&self) -> u32 {
        raw(&self.fd)
    }

    fn element(&self, key: &[u8], value: u64) -> Element {
        Element { map: self.raw(), key: key.as_ptr() as u64, value, ..Element::default() }
    }

    fn batch(&self, keys: u64, values: u64, count: usize) -> Batch {
        // A batch has at most BATCH_MAX entries.
        Batch { keys, values, count: count as u32, map: self.raw(), ..Batch::default() }
    }
}

/// Reads the value of `key`, which has the map's key size, into `value`, which has its value size (for a map per processor:
/// that of all of them). False if there is none.
pub(super) fn lookup(map: &OwnedFd, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    let (key, value) = (key.as_ptr() as u64, value.as_mut_ptr() as u64);
    present(bpf(Command::MapLookup, &mut Element { map: raw(map), key, value, ..Element::default() }))
}

/// Sets `key` to `value`; sizes as for [`lookup`].
pub(super) fn update(map: &OwnedFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    let mut attr = Element { map: raw(map), key, value, ..Element::default() };
    bpf(Command::MapUpdate, &mut attr).map(drop)
}

/// Lets the kernel verify a program and keep it; what its verifier writes at a log level comes into the log, which ends with
/// a zero byte.
pub(super) fn load(
    kind: ProgramKind,
    (attach_type, flags): (u32, u32),
    instructions: &[bpf_insn],
    license: &CStr,
    (log_level, log): (u32, &mut [u8]),
) -> io::Result<OwnedFd> {
    bpf_fd(
        Command::ProgramLoad,
        &mut ProgramLoad {
            kind: kind as u32,
            count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
            instructions: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level,
            log_size: u32::try_from(log.len()).map_err(io::Error::other)?,
            log: log.as_mut_ptr() as u64,
            kernel_version: 0,
            flags,
            name: [0; 16],
            interface: 0,
            attach_type,
        },
    )
}

/// Gives `object` (map, program or link) a name in a bpffs.
pub(super) fn pin(object: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = Object { path: path.as_ptr() as u64, fd: raw(object), flags: 0 };
    bpf(Command::Pin, &mut attr).map(drop)
}

/// The object (map, program or link) of that name.
pub(super) fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    bpf_fd(Command::Get, &mut Object { path: path.as_ptr() as u64, fd: 0, flags: 0 })
}

/// Runs `program` at a place of an interface until the link, which is given back, and all its names are gone.
pub(super) fn link(program: &OwnedFd, interface: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let program = raw(program);
    bpf_fd(Command::LinkCreate, &mut LinkCreate { program, interface, attach_type, flags, more: [0; 2] })
}

/// Lets a link run another program, from one packet to the next.
pub(super) fn relink(link: &OwnedFd, program: &OwnedFd) -> io::Result<()> {
    let mut attr = LinkUpdate { link: raw(link), program: raw(program), flags: 0, old: 0 };
    bpf(Command::LinkUpdate, &mut attr).map(drop)
}

/// Takes a link's program off at once: closing and unpinning alone do so some time later.
pub(super) fn unlink(link: &OwnedFd) -> io::Result<()> {
    bpf(Command::LinkDetach, &mut LinkDetach { link: raw(link) }).map(drop)
}

/// What the kernel says of an object. `T` is the structure for its kind, or the head of that.
pub(super) fn info<T: FromBytes + IntoBytes>(object: &OwnedFd) -> io::Result<T> {
    let mut info = T::new_zeroed();
    let at = info.as_mut_bytes().as_mut_ptr() as u64;
    bpf(Command::Info, &mut Info { object: raw(object), len: size_of::<T>() as u32, at })?;
    Ok(info)
}

/// What the kernel says of a program, and the numbers of the maps that it uses.
pub(super) fn program_maps(program: &OwnedFd) -> io::Result<(ProgramInfo, Vec<u32>)> {
    let mut maps = vec![0u32; MAPS_MAX];
    let mut info =
        ProgramInfo { map_count: MAPS_MAX as u32, maps: maps.as_mut_ptr() as u64, ..ProgramInfo::default() };
    let at = info.as_mut_bytes().as_mut_ptr() as u64;
    bpf(Command::Info, &mut Info { object: raw(program), len: size_of::<ProgramInfo>() as u32, at })?;
    let count = info.map_count as usize;
    if count > MAPS_MAX {
        return Err(io::Error::other(format!("it uses {count} maps")));
    }
    maps.truncate(count);
    Ok((info, maps))
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    zero: u32,
    key: u64,
    /// Or the next key.
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct Info {
    object: u32,
    len: u32,
    at: u64,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
    more: [u64; 2],
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old: u32,
}

#[repr(C)]
struct LinkDetach {
    link: u32,
}

/// One call. `attr` must be what `command` is defined for, and every address in it that of memory as large as the map's
/// sizes and the counts say: [`Map::new`] compares those with its types.
fn bpf<T>(command: Command, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is live and its size is passed along; each caller above fills it with addresses of live slices or
    // values of the size that the kernel uses for them.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, std::ptr::from_mut(attr), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// A call that gives a descriptor.
fn bpf_fd<T>(command: Command, attr: &mut T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: these commands answer with a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn present(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn raw(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}
