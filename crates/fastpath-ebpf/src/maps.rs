//! The maps. Names and shapes are those of `xlat_fastpath::maps`; the loader sets the sizes of those that grow with the
//! configuration. Keys are numbers here: bytes on the program's stack would be copied one by one.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, PerCpuArray};
use xlat_fastpath::config::{
    Config, INSTANCES as INSTANCE_COUNT, Instance, LINKS as LINK_COUNT, Link, OWN_ADDRESSES, Steer,
};
use xlat_fastpath::count::{COUNT, Traffic};
use xlat_fastpath::flow::{Key4, Key6, To4, To6};
use xlat_fastpath::route::{ROUTES as ROUTE_COUNT, Route};
use xlat_fastpath::stateless::{Eam4, Eam6, EamKey4, EamKey6, FILTER_WORDS};

const FLOW_COUNT: u32 = 1 << 20;
const EAM_COUNT: u32 = 1 << 20;
const STEER_COUNT: u32 = 1 << 16;

#[map(name = "XLAT_CONFIG")]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map(name = "XLAT_INSTANCES")]
pub static INSTANCES: Array<Instance> = Array::with_max_entries(INSTANCE_COUNT, 0);
#[map(name = "XLAT_LINKS")]
pub static LINKS: Array<Link> = Array::with_max_entries(LINK_COUNT, 0);
#[map(name = "XLAT_STEER4")]
pub static STEER4: LpmTrie<[u8; 4], Steer> = LpmTrie::with_max_entries(STEER_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_STEER6")]
pub static STEER6: LpmTrie<[u8; 16], Steer> = LpmTrie::with_max_entries(STEER_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_MTU4")]
pub static MTU4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(STEER_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_POOL4")]
pub static POOL4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(STEER_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_OWN_PORTS")]
pub static OWN_PORTS: Array<[u64; 1024]> = Array::with_max_entries(OWN_ADDRESSES * 3, BPF_F_MMAPABLE);
#[map(name = "XLAT_FLOWS6")]
pub static FLOWS6: HashMap<[u64; 5], To4> = HashMap::with_max_entries(FLOW_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_FLOWS4")]
pub static FLOWS4: HashMap<[u64; 2], To6> = HashMap::with_max_entries(FLOW_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_EAM4")]
pub static EAM4: HashMap<[u32; 3], Eam4> = HashMap::with_max_entries(EAM_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_EAM6")]
pub static EAM6: HashMap<[u64; 3], Eam6> = HashMap::with_max_entries(EAM_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_DENY4")]
pub static DENY4: HashMap<[u32; 3], u32> = HashMap::with_max_entries(EAM_COUNT, BPF_F_NO_PREALLOC);
#[map(name = "XLAT_EAM_FILTER")]
pub static EAM_FILTER: Array<[u64; FILTER_WORDS]> = Array::with_max_entries(1, 0);
#[map(name = "XLAT_HOST")]
pub static HOST: Array<[u64; 1024]> = Array::with_max_entries(1, 0);
#[map(name = "XLAT_COUNTERS")]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNT, 0);
#[map(name = "XLAT_TRAFFIC")]
pub static TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(INSTANCE_COUNT, 0);
#[map(name = "XLAT_ROUTES")]
pub static ROUTES: PerCpuArray<Route> = PerCpuArray::with_max_entries(ROUTE_COUNT, 0);

// The keys are what the daemon writes.
const _: () =
    assert!(size_of::<Key6>() == size_of::<[u64; 5]>() && size_of::<Key4>() == size_of::<[u64; 2]>());
const _: () =
    assert!(size_of::<EamKey4>() == size_of::<[u32; 3]>() && size_of::<EamKey6>() == size_of::<[u64; 3]>());
