//! Joins the engine to the data path: one worker of each per thread.

use std::sync::Arc;

use xlat_engine::{Explanation, LogEvent, Origin as EngineOrigin, Output, Verdict, Worker};
use xlat_linux::datapath::{Handler, Origin, Transmit};
use xlat_packet::Buffer;

use super::capture::Tap;
use super::events::Sender;

/// One thread's part of the engine.
pub(super) struct DataPath {
    worker: Worker,
    log: Sender,
    tap: Arc<Tap>,
    /// Index of our device.
    device: u32,
}

impl DataPath {
    pub(super) fn new(worker: Worker, log: Sender, tap: Arc<Tap>, device: u32) -> Self {
        Self { worker, log, tap, device }
    }
}

impl Handler for DataPath {
    fn expect(&mut self, packets: &mut dyn Iterator<Item = &[u8]>) {
        self.worker.expect(packets);
    }

    fn packet(&mut self, packet: &mut Buffer<'_>, origin: Origin, out: &mut dyn Transmit) {
        let Origin { interface, mark, ingress } = origin;
        let looped = interface == self.device && !ingress;
        let origin = EngineOrigin { mark, ingress, interface, looped };
        // The engine counts what became of it.
        let _verdict =
            self.worker.process(packet, origin, &mut Outlet { out, log: &self.log, tap: &self.tap });
    }

    fn tick(&mut self, now_ms: u64, out: &mut dyn Transmit) {
        self.worker.tick(now_ms, &mut Outlet { out, log: &self.log, tap: &self.tap });
    }

    fn now(&mut self, now_ms: u64) {
        self.worker.set_now(now_ms);
    }
}

/// Where packets and log lines of one call go.
struct Outlet<'a> {
    out: &'a mut dyn Transmit,
    log: &'a Sender,
    tap: &'a Tap,
}

impl Output for Outlet<'_> {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        self.out.send(packet);
    }

    fn log(&mut self, instance: &str, event: LogEvent, to_log: bool) {
        self.log.flow(instance, event, to_log);
    }

    fn trace(&mut self, explanation: &Explanation) {
        self.log.trace(explanation);
    }

    fn stopped(&mut self, packet: &Buffer<'_>, origin: EngineOrigin, verdict: Verdict) {
        self.tap.stopped(packet, origin, verdict);
    }
}
