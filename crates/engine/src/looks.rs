//! Looks at the tables for others, done by the workers. Whoever is put aside by the scheduler while it has a part of the tables
//! locked keeps each worker that needs that part waiting until it runs again, which is milliseconds on a busy processor. So who
//! reads tables beside the packets locks nothing: it says what it wants to see, and the first worker that comes by between
//! two packets copies that. Only where none comes by it looks for itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xlat_nat64::{BibInfo, Cursor, SessionInfo, give_way};

use crate::instance::Instance;

/// Longer than a worker that has something to do is usually kept from it.
const PATIENCE: Duration = Duration::from_millis(50);

/// A step of a walk over one of an instance's tables: what [`xlat_nat64::Tables::sessions`] does.
pub(crate) struct Look {
    pub(crate) instance: Arc<Instance>,
    pub(crate) count: usize,
    pub(crate) found: Found,
    /// Where it begins, and then where the next one does.
    pub(crate) at: Option<Cursor>,
}

/// What was found, in memory of the one who asks: workers allocate nothing for it.
pub(crate) enum Found {
    Bib(Vec<BibInfo>),
    Sessions(Vec<SessionInfo>),
}

/// Where looks are asked for.
pub(crate) struct Looks {
    /// How long somebody waits for a worker.
    patience: Duration,
    /// Workers are to look at the desk.
    asked: AtomicBool,
    /// Locked for a moment by the one who asks, and by a worker while it looks.
    desk: Mutex<Desk>,
    /// The look on the desk is done.
    done: AtomicBool,
    /// Held by the one who asks, as only one does at a time. True if the last one asked in vain.
    turn: Mutex<bool>,
    workers: AtomicUsize,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// What one thread asks for, and whom to tell.
#[derive(Default)]
struct Desk(Option<(Look, Thread)>);

impl Default for Looks {
    fn default() -> Self {
        Self {
            patience: PATIENCE,
            asked: AtomicBool::default(),
            desk: Mutex::default(),
            done: AtomicBool::default(),
            turn: Mutex::default(),
            workers: AtomicUsize::default(),
            wake: OnceLock::new(),
        }
    }
}

impl Look {
    fn carry_out(&mut self) {
        let Some((from, nat64)) = self.at.zip(self.instance.nat64()) else { return self.at = None };
        self.at = match &mut self.found {
            Found::Bib(found) => nat64.tables.bib_entries(from, self.count, found),
            Found::Sessions(found) => nat64.tables.sessions(&nat64.policy, from, self.count, found),
        };
    }
}

impl Looks {
    /// Has a look done; gives it back.
    pub(crate) fn ask(&self, mut look: Look) -> Option<Look> {
        let mut alone = self.turn.lock();
        // Where somebody asked in vain, the flag stays up until a worker has seen it.
        let nobody = self.workers.load(Ordering::Relaxed) == 0;
        *alone = nobody || (*alone && self.asked.load(Ordering::Relaxed));
        if !*alone {
            self.done.store(false, Ordering::Relaxed);
            self.desk.lock().0 = Some((look, thread::current()));
            self.asked.store(true, Ordering::Release);
            if let Some(wake) = self.wake.get() {
                wake();
            }
            let since = Instant::now();
            while !self.done.load(Ordering::Acquire)
                && let Some(left) = self.patience.checked_sub(since.elapsed())
            {
                thread::park_timeout(left);
            }
            // A worker that is at it just now is waited for. Nobody else takes anything away.
            let mut desk = self.desk.lock();
            (look, _) = desk.0.take()?;
            if self.done.load(Ordering::Acquire) {
                return Some(look);
            }
            *alone = true;
        }
        give_way();
        look.carry_out();
        Some(look)
    }

    /// What a worker calls between two packets: does what somebody has asked for.
    pub(crate) fn pass(&self) {
        if self.asked.load(Ordering::Relaxed) {
            self.serve();
        }
    }

    #[cold]
    fn serve(&self) {
        // Who puts something there may be put aside itself: no worker waits for that.
        let Some(mut desk) = self.desk.try_lock() else { return };
        self.asked.store(false, Ordering::Relaxed);
        if let Some((look, who)) = &mut desk.0
            && !self.done.load(Ordering::Relaxed)
        {
            look.carry_out();
            self.done.store(true, Ordering::Release);
            who.unpark();
        }
    }

    /// One worker more.
    pub(crate) fn comes(&self) {
        self.workers.fetch_add(1, Ordering::Relaxed);
    }

    /// One worker less.
    pub(crate) fn goes(&self) {
        self.workers.fetch_sub(1, Ordering::Relaxed);
    }

    /// How a worker is woken that waits for packets.
    pub(crate) fn set_wake(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // A second one is not needed: the first still works.
        let _first = self.wake.set(wake);
    }
}

#[cfg(test)]
mod tests {
    use xlat_config::{Hint, Translator};
    use xlat_translate::policy::Hops;

    use super::*;
    use crate::engine::{Engine, EngineOptions};

    const LONG: Duration = Duration::from_secs(60);

    /// An instance with one BIB entry.
    fn instance() -> Arc<Instance> {
        let text = "[[instance]]\nname = 'n'\ntype = 'nat64'\npool4 = ['203.0.113.2']\n\
                    [instance.global]\npool6 = '64:ff9b::/96'\n\
                    [[instance.bib]]\nprotocol = 'udp'\n\
                    ipv6-address = '2001:db8::8#53'\nipv4-address = '203.0.113.2#53'\n";
        let config = xlat_config::load("test.toml", text, &Hint::default()).unwrap().config;
        let options = EngineOptions {
            hops: Hops::Restore,
            mtu4: 65_535,
            mtu6: 65_535,
            secret: [7; 16],
            shards: 4,
            flows: None,
            peers: None,
        };
        let engine = Engine::new(&config, Default::default(), options).unwrap();
        let generation = engine.current().load_full();
        Arc::clone(generation.find(Translator::Nat64, "n").unwrap())
    }

    /// Reads the BIB in a thread of its own; `meanwhile` is done until it has an answer.
    fn read(looks: &Looks, mut meanwhile: impl FnMut()) -> usize {
        let instance = instance();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let found = Found::Bib(Vec::new());
                let look = looks.ask(Look { instance, count: 100, found, at: Some(Cursor::default()) });
                let Some(Look { found: Found::Bib(found), .. }) = look else { return usize::MAX };
                found.len()
            });
            while !reader.is_finished() {
                meanwhile();
            }
            reader.join().unwrap()
        })
    }

    fn looks(patience: Duration, workers: usize) -> Looks {
        Looks { patience, workers: AtomicUsize::new(workers), ..Looks::default() }
    }

    #[test]
    fn a_worker_looks_for_others() {
        let looks = looks(LONG, 1);
        let found = read(&looks, || looks.pass());
        assert_eq!((found, *looks.turn.lock()), (1, false));
    }

    #[test]
    fn a_worker_that_sleeps_is_woken() {
        let looks = looks(LONG, 1);
        let (sender, receiver) = std::sync::mpsc::channel();
        looks.set_wake(Box::new(move || sender.send(()).unwrap()));
        let found = read(&looks, || {
            if receiver.recv_timeout(Duration::from_millis(1)).is_ok() {
                looks.pass();
            }
        });
        assert_eq!((found, *looks.turn.lock()), (1, false));
    }

    #[test]
    fn where_nobody_works_nobody_is_waited_for() {
        assert_eq!(read(&looks(LONG, 0), || ()), 1);
    }

    #[test]
    fn who_waited_in_vain_looks_alone_until_a_worker_comes_by() {
        let mut looks = looks(Duration::from_millis(1), 1);
        assert_eq!(read(&looks, || ()), 1);
        looks.patience = LONG;
        // Would wait for a minute otherwise.
        assert_eq!((read(&looks, || ()), *looks.turn.lock()), (1, true));
        looks.pass();
        assert_eq!((read(&looks, || looks.pass()), *looks.turn.lock()), (1, false));
    }

    #[test]
    fn a_worker_never_waits_for_who_asks() {
        let looks = looks(LONG, 1);
        looks.asked.store(true, Ordering::Relaxed);
        let _put_aside = looks.desk.lock();
        looks.pass();
        assert!(looks.asked.load(Ordering::Relaxed), "there is something to do yet");
    }
}
