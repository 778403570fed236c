//! The XDP programs of `bench/ebpf`: loaded, attached, told what to do, and read.

use std::time::Duration;

use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::util::nr_cpus;
use aya::{Ebpf, Pod};
use xlat_bench::Error;
use xlat_netlab::Namespace;

use crate::shapes::{Expected, FLOWS, FRAME, HEADROOM, Order, count};
use xlat_bench::netns;

/// The compiled programs (`make bpf`).
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/bench.bpf.o");
/// Frames that are made before the kernel looks after anything else.
const BATCH: u32 = 64;
/// The processor that makes frames.
const SENDER: usize = 0;

/// Counts since the last [`Programs::reset`], by the indexes of [`count`].
pub(crate) type Counts = [u64; count::ALL as usize];

/// The loaded programs. Whatever is attached is taken off when this is dropped.
#[derive(Debug)]
pub(crate) struct Programs {
    object: Ebpf,
}

impl Programs {
    /// Loads all of them.
    pub(crate) fn load() -> Result<Self, Error> {
        let mut object = Ebpf::load(OBJECT)?;
        for name in ["bench_send", "bench_sink", "bench_forward"] {
            program(&mut object, name)?.load()?;
        }
        Ok(Self { object })
    }

    /// Lets `device` of `namespace` count and drop what arrives.
    pub(crate) fn attach_sink(&mut self, namespace: &Namespace, device: &str) -> Result<(), Error> {
        self.attach("bench_sink", namespace, device)
    }

    /// Lets `device` of `namespace` forward what comes in.
    pub(crate) fn attach_forward(&mut self, namespace: &Namespace, device: &str) -> Result<(), Error> {
        self.attach("bench_forward", namespace, device)
    }

    fn attach(&mut self, name: &str, namespace: &Namespace, device: &str) -> Result<(), Error> {
        let program = program(&mut self.object, name)?;
        netns::inside(namespace, None, || Ok(program.attach(device, XdpMode::Driver).map(drop)?))
    }

    /// Says what is sent from now on, and what has to arrive.
    pub(crate) fn set(&mut self, order: Order, expected: Expected) -> Result<(), Error> {
        let order: [u64; size_of::<Order>() / 8] = zerocopy::transmute!(order);
        self.array::<[u64; size_of::<Order>() / 8]>("ORDER")?.set(0, order, 0)?;
        let expected: [u32; size_of::<Expected>() / 4] = zerocopy::transmute!(expected);
        self.array::<[u32; size_of::<Expected>() / 4]>("EXPECTED")?.set(0, expected, 0)?;
        let first = PerCpuValues::try_from(vec![[0; 2]; processors()?])?;
        self.per_processor::<[u32; 2]>("NEXT")?.set(0, first, 0)?;
        self.reset()
    }

    /// Forgets the targets of one set.
    pub(crate) fn forget(&mut self, set: u32) -> Result<(), Error> {
        let mut targets = self.array::<u64>("TARGETS")?;
        (set * FLOWS..(set + 1) * FLOWS).try_for_each(|place| Ok(targets.set(place, 0, 0)?))
    }

    /// Sets all counts to zero.
    fn reset(&mut self) -> Result<(), Error> {
        let mut counts = self.per_processor::<u64>("COUNTS")?;
        for index in 0..count::ALL {
            counts.set(index, PerCpuValues::try_from(vec![0; processors()?])?, 0)?;
        }
        Ok(())
    }

    /// What was counted, on all processors together.
    pub(crate) fn counts(&self) -> Result<Counts, Error> {
        let map = self.object.map("COUNTS").ok_or("there is no map COUNTS")?;
        let map = PerCpuArray::<_, u64>::try_from(map)?;
        let mut counts = Counts::default();
        for (index, count) in (0..).zip(&mut counts) {
            *count = map.get(&index, 0)?.iter().sum();
        }
        Ok(counts)
    }

    /// Sends `count` frames of `len` bytes as fast as it goes, and gives the time that one took. One call needs some
    /// milliseconds besides, in which nothing is sent.
    pub(crate) fn send(&self, from: &Namespace, len: usize, count: u32) -> Result<Duration, Error> {
        let program: &Xdp =
            self.object.program("bench_send").ok_or("there is no program bench_send")?.try_into()?;
        // The program gives up the first bytes for room in front.
        let (empty, len) = ([0; FRAME + HEADROOM], (len + HEADROOM).min(FRAME + HEADROOM));
        netns::inside(from, Some(SENDER), || {
            let mut options = TestRunOptions::new();
            options.data_in = Some(&empty[..len]);
            options.repeat = count;
            options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
            Ok(program.test_run(options)?.duration)
        })
    }

    fn array<T: Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, T>, Error> {
        let map = self.object.map_mut(name).ok_or_else(|| format!("there is no map {name}"))?;
        Ok(map.try_into()?)
    }

    fn per_processor<T: Pod>(&mut self, name: &str) -> Result<PerCpuArray<&mut MapData, T>, Error> {
        let map = self.object.map_mut(name).ok_or_else(|| format!("there is no map {name}"))?;
        Ok(map.try_into()?)
    }
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Error> {
    let program = object.program_mut(name).ok_or_else(|| format!("there is no program {name}"))?;
    Ok(program.try_into()?)
}

fn processors() -> Result<usize, Error> {
    nr_cpus().map_err(|(file, error)| format!("{file}: {error}").into())
}
