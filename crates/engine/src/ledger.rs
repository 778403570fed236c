//! Who is charged for what is counted: each instance has a ledger with a page for each worker, which alone writes it. What belongs
//! to no instance is on a page of the worker's own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::counters::{Counters, Statistics};
use crate::engine::Generation;

/// The counters of one instance. They go on as long as the instance has its name and kind.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    /// By the number of the worker.
    pages: Vec<(usize, Arc<Counters>)>,
    /// What another run has counted.
    earlier: Statistics,
    /// What does not count for the instance any more, but for the daemon.
    before_restart: Statistics,
}

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, worker: usize) -> Arc<Counters> {
        let mut inner = self.pages();
        if let Some((_, page)) = inner.pages.iter().find(|(owner, _)| *owner == worker) {
            return Arc::clone(page);
        }
        let page = Arc::new(Counters::default());
        inner.pages.push((worker, Arc::clone(&page)));
        page
    }

    /// Counts on from what an earlier run has counted.
    pub(crate) fn add(&self, earlier: &Statistics) {
        self.pages().earlier.add(earlier);
    }

    /// Begins at zero, as far as the instance is concerned.
    pub(crate) fn restart(&self) {
        let mut inner = self.pages();
        inner.before_restart = inner.sum();
    }

    /// Everything that was ever counted here.
    pub(crate) fn all(&self) -> Statistics {
        self.pages().sum()
    }

    /// What counts for the instance.
    pub(crate) fn own(&self) -> Statistics {
        let inner = self.pages();
        let mut own = inner.sum();
        own.subtract(&inner.before_restart);
        own
    }
}

impl Pages {
    fn sum(&self) -> Statistics {
        let mut sum = self.earlier.clone();
        self.pages.iter().for_each(|(_, page)| sum.add_worker(page));
        sum
    }
}

/// A worker's pages in the ledgers of one configuration.
pub(crate) struct Pen {
    worker: usize,
    /// Of which configuration the pages are.
    generation: Option<u64>,
    /// By the place of the instance. A ledger is held along with its page: it is closed when nobody holds it any more.
    pages: Vec<(Arc<Ledger>, Arc<Counters>)>,
    nobody: Arc<Counters>,
    /// The place of the instance that is charged.
    charged: usize,
}

impl Pen {
    pub(crate) fn new(worker: usize, nobody: Arc<Counters>) -> Self {
        Self { worker, generation: None, pages: Vec::new(), nobody, charged: 0 }
    }

    /// Takes the pages of the present configuration.
    pub(crate) fn follow(&mut self, generation: &Generation) {
        if self.generation == Some(generation.number) {
            return;
        }
        self.generation = Some(generation.number);
        let page = |ledger: &Arc<Ledger>| (Arc::clone(ledger), ledger.page(self.worker));
        self.pages = generation.instances.iter().map(|instance| page(&instance.ledger)).collect();
    }

    /// Charges the instance at this place from now on; where there is none, nobody.
    pub(crate) fn charge(&mut self, place: usize) {
        self.charged = place;
    }

    /// The counters of whoever is charged.
    pub(crate) fn counters(&self) -> &Counters {
        self.pages.get(self.charged).map_or(&*self.nobody, |(_, page)| page)
    }
}

/// All ledgers of an engine.
#[derive(Debug, Default)]
pub(crate) struct Ledgers(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    open: Vec<Arc<Ledger>>,
    /// What those have counted whose instances are no more.
    closed: Statistics,
}

impl Ledgers {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the ledgers of a configuration, and closes those that nobody writes any more.
    pub(crate) fn enrol(&self, generation: &Generation) {
        let Shelf { open, closed } = &mut *self.shelf();
        open.retain(|ledger| {
            let in_use = Arc::strong_count(ledger) > 1;
            if !in_use {
                closed.add(&ledger.all());
            }
            in_use
        });
        for instance in &generation.instances {
            if !open.iter().any(|ledger| Arc::ptr_eq(ledger, &instance.ledger)) {
                open.push(Arc::clone(&instance.ledger));
            }
        }
    }

    /// Everything that was ever counted.
    pub(crate) fn sum(&self) -> Statistics {
        let shelf = self.shelf();
        let mut sum = shelf.closed.clone();
        shelf.open.iter().for_each(|ledger| sum.add(&ledger.all()));
        sum
    }
}
