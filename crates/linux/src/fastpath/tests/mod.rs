//! The program in a namespace and a BPF file system of the test's own. Without root, or without bpf(2), the tests say so and
//! pass.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod handover;
mod links;
mod tables;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use xlat_fastpath::flow::{Session, protocol};

use super::*;
use common::{in_namespace, run};

const SIZES: Sizes = Sizes { max_flows: 1000, max_eam: 10_000 };

/// A directory with a BPF file system that only this test sees.
struct Bpffs(PathBuf);

impl Bpffs {
    /// Enters a mount namespace and mounts it there; none without permission.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("xlat-bpffs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        let bpffs = Self(path);
        let target = CString::new(bpffs.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: the call takes an integer and changes this thread only; strings end with a zero byte.
        let mounted = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(
                    std::ptr::null(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
                && libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null()) == 0
        };
        if !mounted {
            println!("skipped: cannot mount a BPF file system: {}", std::io::Error::last_os_error());
        }
        mounted.then_some(bpffs)
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // The mount goes with the thread's namespace; this is the directory that others see.
        let target = CString::new(self.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: the string ends with a zero byte.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs `test` with a network namespace and pins of its own.
fn with_pins(test: impl FnOnce(Pins) + Send + 'static) {
    in_namespace(|| {
        let Some(bpffs) = Bpffs::new() else { return };
        let pins = Pins::find(Some(&bpffs.0)).unwrap();
        match program::open_maps(&pins, SIZES) {
            Err(FastPathError::NoPermission(error)) => println!("skipped: no bpf(2): {error}"),
            opened => {
                drop(opened.unwrap());
                flush(&pins).unwrap();
                test(Pins::find(Some(&bpffs.0)).unwrap());
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
