//! Direct packet access: bytes that have been compared with the end of the packet, as the verifier wants it.

use core::arch::asm;

/// The packet's bytes that can be read and written directly.
#[derive(Clone, Copy)]
pub struct View {
    data: usize,
    end: usize,
}

/// `LEN` bytes of a packet, known to be there.
#[derive(Clone, Copy)]
pub struct Part<const LEN: usize>(usize);

impl View {
    /// From the context's `data` and `data_end`, which every helper that moves the packet makes invalid; without the first
    /// `skipped` bytes.
    #[inline(always)]
    pub fn new(data: u32, end: u32, skipped: usize) -> Self {
        Self { data: data as usize + skipped, end: end as usize }
    }

    /// How many bytes there are. The verifier allows this with `CAP_PERFMON` only.
    #[inline(always)]
    pub fn len(self) -> u32 {
        (self.end - self.data) as u32
    }

    /// True if there are `LEN` bytes.
    #[inline(always)]
    pub fn has<const LEN: usize>(self) -> bool {
        self.part::<LEN>(0).is_some()
    }

    /// `WORDS` words in memory order from `at` on, if they are there.
    #[inline(always)]
    pub fn words<const WORDS: usize>(self, at: usize) -> Option<[u32; WORDS]> {
        let start = fixed(self.data + at);
        if start + WORDS * 4 > self.end {
            return None;
        }
        // SAFETY: within the checked bytes; see [`Part`] about alignment.
        Some(core::array::from_fn(|word| unsafe { *((start + word * 4) as *const u32) }))
    }

    /// `LEN` bytes from `at` on, if they are there.
    #[inline(always)]
    pub fn part<const LEN: usize>(self, at: usize) -> Option<Part<LEN>> {
        let start = fixed(self.data + at);
        if start + LEN > self.end { None } else { Some(Part(start)) }
    }
}

/// The same address. The compiler may not make one access of several at different places, for which it would compute the place:
/// without more rights than `CAP_BPF`, the verifier lets only constants be added to a pointer into a packet.
#[inline(always)]
fn fixed(mut address: usize) -> usize {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags)) };
    address
}

/// A zero that the compiler does not know to be one: many of them it writes by a call of a loop, which the verifier refuses
/// without more rights than `CAP_BPF`, and which costs time.
#[inline(always)]
pub fn zero() -> u64 {
    fixed(0) as u64
}

macro_rules! access {
    ($($type:ident $get:ident $set:ident)*) => {$(
        /// The number at `AT`, in memory order.
        #[inline(always)]
        pub fn $get<const AT: usize>(self) -> $type {
            const { assert!(AT + size_of::<$type>() <= LEN) };
            // SAFETY: within the checked bytes. Misaligned accesses are what the machines that this runs on do; on others the
            // verifier refuses the program.
            unsafe { *((self.0 + AT) as *const $type) }
        }

        /// Writes the number at `AT`, in memory order.
        #[inline(always)]
        pub fn $set<const AT: usize>(self, value: $type) {
            const { assert!(AT + size_of::<$type>() <= LEN) };
            // SAFETY: as for reading; nothing else refers to the packet.
            unsafe { *((self.0 + AT) as *mut $type) = value }
        }
    )*};
}

impl<const LEN: usize> Part<LEN> {
    /// The byte at `AT`, read once more. Of what is read the verifier knows nothing: paths that differ only in what it knew
    /// of the byte are one path then, and the program stays far below what a verifier is ready to look at.
    #[inline(always)]
    pub fn u8_anew<const AT: usize>(self) -> u8 {
        const { assert!(AT < LEN) };
        // SAFETY: as for reading below.
        unsafe { ((self.0 + AT) as *const u8).read_volatile() }
    }

    /// Writes the number at `AT`, in memory order, where the same is written elsewhere otherwise.
    #[inline(always)]
    pub fn set_u16_apart<const AT: usize>(self, value: u16) {
        const { assert!(AT + 2 <= LEN) };
        // SAFETY: as for the others.
        unsafe { *(fixed(self.0 + AT) as *mut u16) = value }
    }

    access! {
        u8 u8 set_u8
        u16 u16 set_u16
        u32 u32 set_u32
        u64 u64 set_u64
    }
}
