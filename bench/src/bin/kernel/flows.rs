//! Before a flood through a NAT64: the translator gets to know every flow, and the kernel repeats it.

use std::time::Duration;

use xlat_bench::Error;

use crate::flood;
use crate::lab::Lab;
use crate::subject::{Hook, Kind, Subject};

/// How often all flows are tried: the daemon may lose packets while it has others to do.
const PASSES: usize = 12;
/// How long what was decided may take until the kernel has it.
const APPLIED: Duration = Duration::from_millis(200);
/// The share of the flows that has to be known.
const ENOUGH: f64 = 0.999;

/// Makes `flows` flows known, and says so if some are not.
pub(crate) fn establish(lab: &mut Lab, subject: &Subject, flows: u32) -> Result<(), Error> {
    let Kind::Nat64(hook) = subject.kind else { return Ok(()) };
    let enough = f64::from(flows) * ENOUGH;
    lab.programs.forget(subject.traffic(true).set)?;
    let (mut learnt, mut known) = (0, 0.0);
    for _ in 0..PASSES {
        learnt += flood::pass(lab, subject, false, flows)?.learnt;
        flood::pass(lab, subject, true, flows)?;
        std::thread::sleep(APPLIED);
        if hook != Hook::None {
            let status = lab.status(subject)?;
            known = status["kernel"]["flows"].as_f64().ok_or("xlat status says nothing of flows")?;
        }
        if f64::from(learnt) >= enough && (hook == Hook::None || known >= enough) {
            return Ok(());
        }
    }
    println!("\n{}: of {flows} flows {learnt} are answered, and the kernel knows {known}", subject.name);
    Ok(())
}
