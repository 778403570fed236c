//! Datagrams at a steady rate to a socket that sends them back: what is lost, and how long they take.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use xlat_bench::Error;

/// From one probe to the next.
const PACE: Duration = Duration::from_millis(1);
/// How long the last one may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often those who wait look whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// What became of the probes of one turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probes {
    pub(crate) sent: u32,
    pub(crate) lost: u32,
    /// There and back.
    pub(crate) slowest: Duration,
}

/// Sends probes from `probe`, which is connected, to `echo` and back, for so long.
pub(crate) fn send(probe: &UdpSocket, echo: &UdpSocket, time: Duration) -> Result<Probes, Error> {
    let (over, start) = (AtomicBool::new(false), Instant::now());
    probe.set_read_timeout(Some(LOOK))?;
    echo.set_read_timeout(Some(LOOK))?;
    // Of an earlier turn, and late.
    let mut old = [0; 16];
    probe.set_nonblocking(true)?;
    while probe.recv(&mut old).is_ok() {}
    probe.set_nonblocking(false)?;
    std::thread::scope(|scope| {
        let back = scope.spawn(|| reflect(echo, &over));
        let receiver = scope.spawn(|| receive(probe, start, &over));
        let sent = pace(probe, start, time);
        std::thread::sleep(PATIENCE);
        over.store(true, Ordering::Relaxed);
        let panicked = "a thread has panicked";
        back.join().map_err(|_| panicked)??;
        let (back, slowest) = receiver.join().map_err(|_| panicked)??;
        let sent = sent?;
        Ok(Probes { sent, lost: sent.saturating_sub(back), slowest })
    })
}

/// One each [`PACE`], late ones at once; the time of sending is in it.
fn pace(probe: &UdpSocket, start: Instant, time: Duration) -> Result<u32, Error> {
    let mut sent = 0;
    while start.elapsed() < time {
        if let Some(early) = (PACE * sent).checked_sub(start.elapsed()) {
            std::thread::sleep(early);
        }
        probe.send(&(start.elapsed().as_nanos() as u64).to_be_bytes())?;
        sent += 1;
    }
    Ok(sent)
}

fn receive(probe: &UdpSocket, start: Instant, over: &AtomicBool) -> Result<(u32, Duration), Error> {
    let (mut count, mut slowest, mut datagram) = (0, Duration::ZERO, [0; 8]);
    while !over.load(Ordering::Relaxed) {
        match probe.recv(&mut datagram) {
            Ok(_) => {
                let sent = Duration::from_nanos(u64::from_be_bytes(datagram));
                slowest = slowest.max(start.elapsed().saturating_sub(sent));
                count += 1;
            }
            Err(error) if waits(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((count, slowest))
}

fn reflect(echo: &UdpSocket, over: &AtomicBool) -> Result<(), Error> {
    let mut datagram = [0; 8];
    while !over.load(Ordering::Relaxed) {
        match echo.recv_from(&mut datagram) {
            Ok((length, from)) => _ = echo.send_to(&datagram[..length], from)?,
            Err(error) if waits(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
