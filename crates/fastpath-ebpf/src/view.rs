//! Direct packet access: bytes that have been compared with the end of the packet, as the verifier wants it.

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

    /// How many bytes there are.
    #[inline(always)]
    pub fn len(self) -> u32 {
        (self.end - self.data) as u32
    }

    /// `LEN` bytes from `at` on, if they are there.
    #[inline(always)]
    pub fn part<const LEN: usize>(self, at: usize) -> Option<Part<LEN>> {
        let start = self.data + at;
        if start + LEN > self.end { None } else { Some(Part(start)) }
    }
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

    access! {
        u8 u8 set_u8
        u16 u16 set_u16
        u32 u32 set_u32
        u64 u64 set_u64
    }
}
