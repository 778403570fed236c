//! `BPF_PROG_TEST_RUN` of a packet whose sum the hardware has given (`CHECKSUM_COMPLETE`): the kernel compares the sum
//! with the packet behind the program. For tests; `aya` runs programs, but not so.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `BPF_PROG_TEST_RUN`.
const TEST_RUN: libc::c_int = 10;
/// `BPF_F_TEST_SKB_CHECKSUM_COMPLETE` (Linux 6.15).
const CHECKSUM_COMPLETE: u32 = 1 << 2;

/// The part of `union bpf_attr` for a test run.
#[repr(C)]
#[derive(Default)]
struct Run {
    program: u32,
    answer: u32,
    data_len: u32,
    out_len: u32,
    data: u64,
    out: u64,
    repeat: u32,
    nanoseconds: u32,
    context_len: u32,
    context_out_len: u32,
    context: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    zero: u32,
}

/// Runs a tc program once on `frame` with `context` (a `struct __sk_buff`). Gives its answer.
///
/// # Errors
///
/// `EBADMSG` if the sum does not fit the packet any more; `EINVAL` on kernels that cannot tell.
pub fn checksum_run(program: BorrowedFd<'_>, frame: &[u8], context: &[u8]) -> io::Result<i32> {
    let mut run = Run {
        program: program.as_raw_fd().cast_unsigned(),
        data_len: frame.len() as u32,
        data: frame.as_ptr() as u64,
        context_len: context.len() as u32,
        context: context.as_ptr() as u64,
        repeat: 1,
        flags: CHECKSUM_COMPLETE,
        ..Run::default()
    };
    // SAFETY: the structure is live and its size is passed along; the kernel reads the two slices by the lengths given, and
    // writes nothing but the structure, there being no places for output.
    let result = unsafe { libc::syscall(libc::SYS_bpf, TEST_RUN, &raw mut run, size_of::<Run>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(run.answer.cast_signed()) }
}
