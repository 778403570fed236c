//! The program in a namespace and a BPF file system of the test's own. Without root, or without bpf(2), the tests say so and
//! pass.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod handover;
mod links;
mod prepared;
mod tables;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use xlat_fastpath::flow::{Session, protocol};

use super::*;
use common::{in_namespace, run};

const SIZES: Sizes = Sizes { max_flows: 1000, max_eam: 10_000 };

/// A directory, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("xlat-bpffs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Puts this thread into a mount namespace and mounts a BPF file system there, which nobody else sees and which goes with the
/// thread. False without permission.
fn mount(path: &Path) -> bool {
    let target = CString::new(path.as_os_str().as_bytes()).unwrap();
    let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: the call takes an integer and changes this thread only; strings end with a zero byte.
    let mounted = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
            && libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), 0, none.cast()) == 0
    };
    if !mounted {
        println!("skipped: cannot mount a BPF file system: {}", std::io::Error::last_os_error());
    }
    mounted
}

/// Runs `test` with a network namespace and pins of its own.
fn with_pins(test: impl FnOnce(Pins) + Send + 'static) {
    let folder = Folder::new();
    let path = folder.0.clone();
    in_namespace(move || {
        if !mount(&path) {
            return;
        }
        let pins = Pins::find(Some(&path)).unwrap();
        match program::open_maps(&pins, SIZES) {
            Err(FastPathError::NoPermission(error)) => println!("skipped: no bpf(2): {error}"),
            opened => {
                drop(opened.unwrap());
                flush(&pins).unwrap();
                test(Pins::find(Some(&path)).unwrap());
            }
        }
    });
}

fn open(pins: &Pins) -> (FastPath, Opened) {
    FastPath::open(pins, SIZES).unwrap()
}

/// The maps alone: the kernel takes seconds to verify the programs.
fn open_maps(pins: &Pins, max_flows: u32, max_eam: u32) -> Maps {
    program::open_maps(pins, Sizes { max_flows, max_eam }).unwrap().1
}

fn session(number: u32) -> Session {
    let mut client = [0; 16];
    client[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    client[12..].copy_from_slice(&number.to_be_bytes());
    let mut server6 = [0; 16];
    server6[..4].copy_from_slice(&[0, 0x64, 0xff, 0x9b]);
    server6[12..].copy_from_slice(&[192, 0, 2, 1]);
    Session {
        protocol: protocol::UDP,
        instance: 1,
        mark: 7,
        client: (client, 40000),
        mask: ([203, 0, 113, (number >> 16) as u8], number as u16),
        server6,
        server: ([192, 0, 2, 1], 53),
    }
}

fn interface(name: &str) -> u32 {
    let text = run(&format!("ip -o link show {name}"));
    text.split(':').next().unwrap().trim().parse().unwrap()
}
