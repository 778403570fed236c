//! What a person sees of work that takes longer than a second: on a terminal, on standard error, gone when it is done.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
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

/// A clock beside work that keeps this thread; gone with it.
pub(crate) struct Clock(Option<(Sender<()>, JoinHandle<()>)>);

impl Clock {
    /// Begins.
    pub(crate) fn start(what: &'static str) -> Self {
        Self(io::stderr().is_terminal().then(|| {
            let (sender, done) = channel();
            (sender, thread::spawn(move || count(what, &done)))
        }))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            // It has nothing to say but what is on the terminal.
            let _ = thread.join();
        }
    }
}

/// Shows how long it takes until it is done.
fn count(what: &str, done: &Receiver<()>) {
    let began = Instant::now();
    let mut pause = SILENT;
    while done.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = PAUSE;
        say(&format!("{what}: {:.0} s", began.elapsed().as_secs_f64()));
    }
    if pause == PAUSE {
        say("");
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
