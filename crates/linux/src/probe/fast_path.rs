//! What this kernel and these privileges allow the program in the kernel: tried out on a pair of interfaces in a network
//! namespace of its own, so that nothing of the host's is touched.

use std::ffi::CStr;
use std::io;
use std::path::PathBuf;

use crate::fastpath::{Pins, ProgramReport, Trial};
use crate::netlink::raw::{Body, CREATE, EXCLUSIVE, request};

const NEW_LINK: u16 = 16;
const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// The interface that is made in the new namespace.
const NAME: &CStr = c"xlatprobe";

/// Since when `bpf_fib_lookup` heeds the firewall mark.
const FIB_MARK: (u32, u32) = (6, 10);

/// A way to attach: an error says why it cannot be had, `None` that it could not be tried.
type Way = Option<Result<(), String>>;

/// What can be had; an error says why something cannot.
#[derive(Clone, Debug)]
pub struct FastPathSupport {
    /// Where pins would be kept; `None`: a BPF file system would have to be mounted.
    pub bpffs: Option<PathBuf>,
    /// The programs that the kernel has accepted, or why it did not accept the two for tc. The first error is usually that of
    /// bpf(2) itself, which is not permitted.
    pub programs: Result<Vec<ProgramReport>, String>,
    /// tcx (Linux 6.6).
    pub tcx: Way,
    /// tc filters.
    pub tc: Way,
    /// XDP in the driver, of the virtual Ethernet pairs that every kernel has; of other drivers see
    /// [`crate::netlink::xdp_features`].
    pub xdp: Way,
    /// The same with frags (Linux 5.18).
    pub xdp_frags: Way,
    /// The program's route look-ups heed firewall marks.
    pub fib_mark: bool,
}

impl FastPathSupport {
    /// Whether there can be a program in the kernel at all; if not, why.
    pub fn usable(&self) -> Result<(), String> {
        self.programs.as_ref().map_err(Clone::clone)?;
        match (&self.tcx, &self.tc) {
            (Some(Err(_)), Some(Err(why))) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// What was found, as rows of a name and a value for people.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let yes = |way: &Way| match way {
            Some(Ok(())) => "yes".to_owned(),
            Some(Err(why)) => format!("no: {why}"),
            None => "unknown: there is no network namespace to try it in".to_owned(),
        };
        let bpffs = self.bpffs.as_ref().map(|path| path.display().to_string());
        let mut rows = vec![
            ("fast path", yes(&Some(self.usable()))),
            ("bpf file system", bpffs.unwrap_or_else(|| "none is mounted".to_owned())),
        ];
        let Ok(programs) = &self.programs else { return rows };
        rows.extend([
            ("tcx", yes(&self.tcx)),
            ("tc filters", yes(&self.tc)),
            ("xdp", yes(&self.xdp)),
            ("xdp frags", yes(&self.xdp_frags)),
            ("route by mark", if self.fib_mark { "yes" } else { "no: since Linux 6.10" }.to_owned()),
        ]);
        rows.extend(programs.iter().map(|program| (program.name, program.to_string())));
        rows
    }
}

/// Whether a program's route look-ups can heed firewall marks; `release` is the kernel's.
pub(super) fn routes_by_mark(release: &str) -> bool {
    version(release) >= FIB_MARK
}

/// Looks. Takes as long as the kernel needs to verify the programs, a second or some. `release` is the kernel's.
pub(super) fn run(release: &str) -> FastPathSupport {
    let bpffs = Pins::mounted();
    let fib_mark = routes_by_mark(release);
    let tried =
        std::thread::Builder::new().name("xlat-probe".to_owned()).spawn(try_out).map(|thread| thread.join());
    let untried = || Err("could not be tried".to_owned());
    let (programs, [tcx, tc, xdp, xdp_frags]) = match tried {
        Ok(Ok(tried)) => tried,
        Ok(Err(_)) | Err(_) => (untried(), Default::default()),
    };
    FastPathSupport { bpffs, programs, tcx, tc, xdp, xdp_frags, fib_mark }
}

/// Loads the programs and attaches them in every way. The thread's namespace ends with it.
fn try_out() -> (Result<Vec<ProgramReport>, String>, [Way; 4]) {
    let trial = match Trial::load() {
        Ok(trial) => trial,
        // Behind the first line comes the verifier's log, which `xlat run` prints.
        Err(error) => {
            let text = error.to_string();
            return (Err(text.lines().next().unwrap_or_default().to_owned()), Default::default());
        }
    };
    // SAFETY: the call takes an integer and changes this thread only.
    let interface = match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => pair().ok(),
        _ => None,
    };
    let way = |way: io::Result<()>| Some(way.map_err(|error| error.to_string()));
    let ways = interface.map(|interface| trial.attach(interface).map(way));
    (Ok(trial.reports()), ways.unwrap_or_default())
}

/// Makes a pair of interfaces; the index of one.
fn pair() -> io::Result<u32> {
    let kind = Body::new(&[]).with(INFO_KIND, b"veth\0");
    let body = Body::new(&[0; 16]).with(LINK_NAME, NAME.to_bytes_with_nul()).with(LINK_INFO, kind.bytes());
    request(libc::NETLINK_ROUTE, NEW_LINK, CREATE | EXCLUSIVE, &body)?;
    // SAFETY: the name ends with a zero byte.
    match unsafe { libc::if_nametoindex(NAME.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(version("6.1.0-18-amd64"), (6, 1));
        assert!(version("6.18.44") >= FIB_MARK && version("6.9.1") < FIB_MARK && version("5.15") < FIB_MARK);
        assert_eq!(version("strange"), (0, 0));
    }
}
