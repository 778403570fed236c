//! How busy the daemon's threads are: their processor time, as the kernel accounts for it.

use std::fs;

/// A thread with its processor time in seconds.
pub(super) struct Busy {
    pub(super) name: String,
    pub(super) seconds: f64,
}

/// The threads that are ours by name. Where the kernel does not say (no `CONFIG_SCHED_INFO`) there are none.
pub(super) fn threads() -> Vec<Busy> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let mut threads: Vec<Busy> = tasks
        .filter_map(|task| {
            let folder = task.ok()?.path();
            let name = fs::read_to_string(folder.join("comm")).ok()?.trim_end().to_owned();
            if !name.starts_with("xlat") {
                return None;
            }
            let accounts = fs::read_to_string(folder.join("schedstat")).ok()?;
            let nanoseconds: u64 = accounts.split_whitespace().next()?.parse().ok()?;
            Some(Busy { name, seconds: nanoseconds as f64 / 1e9 })
        })
        .collect();
    threads.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    threads
}

/// Workers are named by their number.
pub(super) fn is_worker(name: &str) -> bool {
    let number = name.strip_prefix("xlat-");
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_is_seen() {
        let (ready, started) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let busy = std::thread::Builder::new().name("xlat-77".to_owned()).spawn(move || {
            let sum = (0..20_000_000u64).fold(0, |sum: u64, n| std::hint::black_box(sum ^ n));
            ready.send(sum).unwrap();
            let _ = wait.recv();
        });
        started.recv().unwrap();
        let found = threads().into_iter().find(|thread| thread.name == "xlat-77");
        drop(end);
        busy.unwrap().join().unwrap();
        assert!(found.is_some_and(|thread| thread.seconds > 0.0));
        assert!(is_worker("xlat-12") && !is_worker("xlat-log") && !is_worker("xlat-") && !is_worker("xlat"));
    }
}
