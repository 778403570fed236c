//! The engine under measurement, and who its packets come from and go to.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use xlat_bench::Error;
use xlat_config::Config;
use xlat_engine::{Engine, EngineOptions, Origin, Output, Verdict, Worker};
use xlat_packet::Buffer;
use xlat_translate::policy::Hops;
use xlat_translate::refused::HostAddresses;

/// Shards of the tables, as many as a daemon with a few workers has.
const SHARDS: usize = 64;

/// 64:ff9b::/96.
const POOL6: u128 = 0x0064_ff9b << 96;

/// Reads a configuration.
pub(crate) fn config(toml: &str) -> Result<Config, Error> {
    xlat_config::load("bench.toml", toml, &xlat_config::Hint::default())
        .map(|loaded| loaded.config)
        .map_err(|diagnostics| format!("{diagnostics:?}").into())
}

/// An engine on a host with one address of each family.
pub(crate) fn engine(config: &Config) -> Result<Arc<Engine>, Error> {
    let host = HostAddresses::new(vec![([192, 0, 2, 1].into(), 24)], vec!["2001:db8:ffff::1".parse()?]);
    let options = EngineOptions {
        hops: Hops::Decrement,
        mtu4: 1500,
        mtu6: 1500,
        secret: [0x5a; 16],
        shards: SHARDS,
        flows: None,
        peers: None,
    };
    Ok(Engine::new(config, host, options)?)
}

/// `address` in 64:ff9b::/96.
pub(crate) fn embed(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(POOL6 | u128::from(address.to_bits()))
}

/// Takes packets and keeps what `seen` makes of them.
pub(crate) struct Sink<F>(pub(crate) F);

impl<F: FnMut(&[u8])> Output for Sink<F> {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        (self.0)(packet.bytes());
    }
}

/// Takes a packet through the engine; anything but a translation ends the measurement.
pub(crate) fn process(
    worker: &mut Worker,
    packet: &mut Buffer<'_>,
    out: &mut dyn Output,
) -> Result<(), Error> {
    match worker.process(packet, Origin::default(), out) {
        Verdict::Translated => Ok(()),
        other => Err(format!("not translated: {other:?}").into()),
    }
}
