//! What is to become of a packet that the program translates.

use xlat_fastpath::config::{Instance, instance_flag};
use xlat_fastpath::count::Counter;

/// Why a packet is not translated here.
#[derive(Clone, Copy)]
pub enum Stop {
    /// It is not ours: the host has it, unchanged.
    Pass(Counter),
    /// It is ours, and the daemon's to decide about.
    Up(Counter),
}

impl From<Counter> for Stop {
    #[inline(always)]
    fn from(reason: Counter) -> Self {
        Self::Up(reason)
    }
}

/// The new addresses and what goes with them. `A` is the address of the family that the packet gets.
pub struct Plan<A> {
    pub src: A,
    pub dst: A,
    /// As they stand in the packet; of an echo message the identifier, alone.
    pub ports: u32,
    pub instance: &'static Instance,
    pub index: u32,
}

/// The instance, if the program may do its work.
#[inline(always)]
pub fn usable(instance: Option<&'static Instance>) -> Result<&'static Instance, Counter> {
    match instance {
        Some(instance)
            if instance.flags & (instance_flag::ENABLED | instance_flag::HAND_OVER)
                == instance_flag::ENABLED =>
        {
            Ok(instance)
        }
        _ => Err(Counter::Instance),
    }
}
