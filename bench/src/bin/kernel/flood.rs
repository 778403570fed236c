//! The rate of small packets. A program makes frames on one processor; what the router and the sink do with them is done on the
//! same one, between the batches: the time per frame is that of the whole way, and nothing is lost for want of time.

use std::time::{Duration, Instant};

use xlat_bench::Error;
use xlat_bench::results::{Sample, cpu_time};

use crate::lab::Lab;
use crate::shapes::{count, expected_flag};
use crate::subject::{Kind, Subject};

/// Frames by which the rate is estimated beforehand, and the caches are filled.
const ESTIMATE: u32 = 1 << 16;
/// How long packets may be under way.
const UNDER_WAY: Duration = Duration::from_millis(50);
/// The share of the frames that has to arrive for the sender's time to count as the time of the whole way.
const ALL: f64 = 0.999;
/// One of so many frames is sent when a daemon has to cope with each.
const SLOWLY: u32 = 200;

/// What a call of the sender did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    /// Frames sent.
    pub(crate) sent: f64,
    /// Frames that arrived as they should.
    pub(crate) right: f64,
    /// Frames that arrived otherwise.
    pub(crate) wrong: f64,
    /// Flows whose target was learnt.
    pub(crate) learnt: u32,
    /// Time on the sending processor for each frame.
    pub(crate) each: Duration,
    /// Time in all.
    pub(crate) time: Duration,
}

/// Floods for about the time `time`.
pub(crate) fn measure(
    lab: &mut Lab,
    subject: &Subject,
    down: bool,
    flows: u32,
    time: Duration,
) -> Result<Sample, Error> {
    let estimate = send(lab, subject, down, flows, ESTIMATE, 1, 0)?;
    let frames = time.as_nanos() / estimate.each.as_nanos().max(1);
    let cpu = cpu_time(lab.process(subject))?;
    let flood = send(lab, subject, down, flows, u32::try_from(frames)?, 1, 0)?;
    let cpu = (cpu_time(lab.process(subject))? - cpu).as_nanos() as f64;
    if flood.wrong > 0.0 {
        println!("\n{}: {} of {} packets were wrong", subject.name, flood.wrong, flood.sent);
    }
    // With a daemon on the way, packets get lost and the sender's time says nothing of it.
    let time = match flood.right >= ALL * flood.sent {
        true => flood.each.as_secs_f64() * flood.sent,
        false => flood.time.as_secs_f64(),
    };
    Ok(Sample {
        rate: flood.right / time / 1e6,
        cpu: cpu / flood.right.max(1.0),
        units: estimate.right + flood.right,
    })
}

/// Sends some packets slowly and looks closely at what arrives; an error says what is not right.
pub(crate) fn check(lab: &mut Lab, subject: &Subject, down: bool, flows: u32) -> Result<(), Error> {
    let flood = send(lab, subject, down, flows, 1000 * SLOWLY, SLOWLY, expected_flag::CHECKSUM)?;
    match flood.wrong == 0.0 && flood.right >= 0.99 * flood.sent {
        true => Ok(()),
        false => {
            Err(format!("of {} packets {} arrived, and {} wrong ones", flood.sent, flood.right, flood.wrong)
                .into())
        }
    }
}

/// One pass over all flows, slowly; from A to V the sink learns the targets.
pub(crate) fn pass(lab: &mut Lab, subject: &Subject, down: bool, flows: u32) -> Result<Flood, Error> {
    let flags = if down { 0 } else { expected_flag::LEARN };
    send(lab, subject, down, flows, flows.saturating_mul(SLOWLY), SLOWLY, flags)
}

fn send(
    lab: &mut Lab,
    subject: &Subject,
    down: bool,
    flows: u32,
    frames: u32,
    one_of: u32,
    flags: u32,
) -> Result<Flood, Error> {
    let traffic = subject.traffic(down);
    let sender = lab.sender(subject, down).ok_or("there is no such router")?;
    let order = traffic
        .order(sender.interface, sender.macs, flows, one_of)
        .ok_or("addresses of different families")?;
    let hops = u8::from(subject.kind != Kind::Cable);
    lab.programs.set(order, traffic.expected(hops, flags))?;
    let from = lab.sender(subject, down).ok_or("there is no such router")?.namespace;
    let start = Instant::now();
    let each = lab.programs.send(from, traffic.frame_len(), frames)?;
    let time = start.elapsed();
    std::thread::sleep(UNDER_WAY);
    let counts = lab.programs.counts()?;
    let count = |index: u32| counts[index as usize] as f64;
    Ok(Flood {
        sent: f64::from(frames / one_of),
        right: count(count::RIGHT),
        wrong: count(count::WRONG),
        learnt: counts[count::LEARNT as usize] as u32,
        each,
        time,
    })
}
