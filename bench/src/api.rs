//! Requests to a daemon's API at a steady rate.

use std::time::{Duration, Instant};

use xlat_control::Client;

use crate::Error;

/// From the beginning of one request to that of the next.
pub const PACE: Duration = Duration::from_millis(1);

/// What became of the requests.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// How many were answered: all of them.
    pub count: u32,
    /// How many per second.
    pub rate: f64,
    /// The longest time that one took.
    pub slowest: Duration,
}

/// Asks for `paths` in turn, one each [`PACE`], late ones at once.
///
/// # Errors
///
/// When one is not answered with what it asks for.
pub async fn ask(client: &Client, paths: &[&str], time: Duration) -> Result<Answers, Error> {
    let (start, mut count, mut slowest) = (Instant::now(), 0u32, Duration::ZERO);
    while start.elapsed() < time {
        if let Some(early) = (PACE * count).checked_sub(start.elapsed()) {
            tokio::time::sleep(early).await;
        }
        let began = Instant::now();
        client.text(paths[count as usize % paths.len()]).await?;
        slowest = slowest.max(began.elapsed());
        count += 1;
    }
    Ok(Answers { count, rate: f64::from(count) / start.elapsed().as_secs_f64(), slowest })
}
