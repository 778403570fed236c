//! What a person sees of work that takes longer than a second: on a terminal, on standard error, gone when it is done.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Shorter work says nothing.
const SILENT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
/// Rows between two looks at the clock.
const STEPS: u64 = 4096;

/// Rows as they pass.
pub(crate) struct Progress {
    is_shown: bool,
    rows: u64,
    began: Instant,
    said: Option<Instant>,
}

impl Progress {
    /// Shown only where the rows themselves do not go to the terminal.
    pub(crate) fn rows() -> Self {
        let is_shown = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { is_shown, rows: 0, began: Instant::now(), said: None }
    }

    /// One more.
    pub(crate) fn step(&mut self) {
        self.rows += 1;
        if !self.is_shown || !self.rows.is_multiple_of(STEPS) {
            return;
        }
        let now = Instant::now();
        if now - self.began > SILENT && self.said.is_none_or(|said| now - said > PAUSE) {
            self.said = Some(now);
            say(&format!("{} rows, {:.0} s", self.rows, (now - self.began).as_secs_f64()));
        }
    }

    /// No more.
    pub(crate) fn done(&mut self) {
        if self.said.take().is_some() {
            say("");
        }
    }
}

/// How long something takes that is looked at again and again.
pub(crate) struct Clock {
    what: &'static str,
    began: Instant,
    said: Option<Instant>,
}

impl Clock {
    /// Begins.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, began: Instant::now(), said: None }
    }

    /// It is not done yet.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        if now - self.began > SILENT
            && self.said.is_none_or(|said| now - said > PAUSE)
            && io::stderr().is_terminal()
        {
            self.said = Some(now);
            say(&format!("{}: {:.0} s", self.what, (now - self.began).as_secs_f64()));
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if self.said.is_some() {
            say("");
        }
    }
}

/// Waits for something with a clock beside it.
pub(crate) async fn waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let began = Instant::now();
    let mut said = false;
    loop {
        let pause = if said { PAUSE } else { SILENT };
        match tokio::time::timeout(pause, &mut work).await {
            Ok(done) => {
                if said {
                    say("");
                }
                return done;
            }
            Err(_elapsed) => {
                said = true;
                say(&format!("{what}: {:.0} s", began.elapsed().as_secs_f64()));
            }
        }
    }
}

/// Replaces the line.
fn say(text: &str) {
    // Without a standard error there is nobody to tell.
    let _ = write!(io::stderr(), "\r\x1b[K{text}");
}
