//! The same packet through the engine and through the program.

use std::sync::Arc;

use xlat_config::Config;
use xlat_engine::{Engine, EngineOptions, Origin, Output, Verdict, Worker};
use xlat_fastpath::flow::{Session, protocol};
use xlat_packet::{Buffer, Offload, buffer};
use xlat_translate::policy::Hops;
use xlat_translate::refused::HostAddresses;

use crate::program::{Hook, Program, Said};

/// The engine and the program with one configuration.
pub struct Pair {
    /// The program.
    pub program: Program,
    worker: Worker,
    stateful: Vec<(u32, [u8; 16], u32)>,
    storage: Vec<u8>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Both translated it, to the same bytes.
    pub same: u64,
    /// The program handed it up.
    pub up: u64,
    /// The program left it to the host.
    pub passed: u64,
}

#[derive(Default)]
struct Sent(Vec<Vec<u8>>);

impl Output for Sent {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        self.0.push(packet.bytes().to_vec());
    }
}

impl Pair {
    /// Both with `config` on a host with these addresses; the MTU is 1500 everywhere.
    pub fn new(program: Program, config: &Config, host: HostAddresses) -> Result<Self, String> {
        let (worker, stateful) = (Self::start(config, host.clone())?, Vec::new());
        let storage = vec![0; buffer::HEADROOM + buffer::MAX_PACKET];
        let mut pair = Self { program, worker, stateful, storage };
        pair.restart(config, host)?;
        Ok(pair)
    }

    /// Begins anew with another configuration.
    pub fn restart(&mut self, config: &Config, host: HostAddresses) -> Result<(), String> {
        self.program.forget_flows()?;
        self.program.configure(config, &host)?;
        self.worker = Self::start(config, host)?;
        self.stateful = config
            .instances
            .iter()
            .zip(0..)
            .filter(|(instance, _)| matches!(instance.kind, xlat_config::Kind::Nat64(_)))
            .filter_map(|(instance, index)| {
                let pool6 = instance.kind.pool6()?;
                Some((index, pool6.network().octets(), pool6.prefix_len().into()))
            })
            .collect();
        Ok(())
    }

    fn start(config: &Config, host: HostAddresses) -> Result<Worker, String> {
        let options = EngineOptions {
            hops: Hops::Decrement,
            mtu4: 1500,
            mtu6: 1500,
            secret: *b"a secret of test",
            shards: 2,
            flows: None,
            peers: None,
        };
        let engine: Arc<Engine> = Engine::new(config, host, options).map_err(|e| e.to_string())?;
        let mut worker = engine.worker();
        worker.set_now(1_000_000);
        Ok(worker)
    }

    /// What the engine makes of a packet: the packets it sends, and whether it translated this one.
    pub fn engine(&mut self, packet: &[u8], mark: u32) -> (bool, Vec<Vec<u8>>) {
        let end = buffer::HEADROOM + packet.len();
        self.storage.resize(self.storage.len().max(end), 0);
        self.storage[buffer::HEADROOM..end].copy_from_slice(packet);
        let mut packet = Buffer::new(&mut self.storage, buffer::HEADROOM, end, Offload::NONE);
        let mut sent = Sent::default();
        let verdict = self.worker.process(&mut packet, Origin::routed(mark), &mut sent);
        (verdict == Verdict::Translated, sent.0)
    }

    /// Brings the flow of an IPv6 packet that the engine has translated into the program.
    pub fn promote(&mut self, before: &[u8], after: &[u8], mark: u32) -> Result<(), String> {
        match self.session(before, after, mark) {
            Some(session) => self.program.promote(&session),
            None => Ok(()),
        }
    }

    fn session(&self, six: &[u8], four: &[u8], mark: u32) -> Option<Session> {
        let (client, server6) = (*six.get(8..)?.first_chunk()?, *six.get(24..)?.first_chunk::<16>()?);
        if six[0] >> 4 != 6 || four.first()? >> 4 != 4 {
            return None;
        }
        // Only /96 appears in these tests' stateful instances beside the first.
        let (instance, ..) = self.stateful.iter().find(|(_, pool6, len)| {
            let whole = (*len / 8) as usize;
            server6[..whole] == pool6[..whole]
        })?;
        let kind = match (six[6], four[9]) {
            (58, 1) => protocol::ICMP,
            (6, 6) => protocol::TCP,
            (17, 17) => protocol::UDP,
            _other => return None,
        };
        let word = |bytes: &[u8], at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let is_echo = kind == protocol::ICMP;
        let ports = if is_echo {
            (word(six, 44)?, word(four, 24)?, 0)
        } else {
            (word(six, 40)?, word(four, 20)?, word(four, 22)?)
        };
        Some(Session {
            protocol: kind,
            instance: *instance,
            mark,
            client: (client, ports.0),
            mask: (*four.get(12..)?.first_chunk()?, ports.1),
            server6,
            server: (*four.get(16..)?.first_chunk()?, ports.2),
        })
    }

    /// Sends a packet through the program and compares with what the engine sent.
    pub fn check(
        &mut self,
        hook: Hook,
        packet: &[u8],
        mark: u32,
        (translated, sent): (bool, &[Vec<u8>]),
        tally: &mut Tally,
    ) -> Result<(), String> {
        // The kernel does not make a test run of less than a header.
        let header = if packet.first().is_some_and(|byte| byte >> 4 == 6) { 40 } else { 20 };
        if packet.len() < header {
            return Ok(());
        }
        let (said, frame) = self.program.run(hook, packet, mark)?;
        let out = frame.get(14..).unwrap_or(&[]);
        match said {
            Said::Drop => Err("the program dropped it".to_owned()),
            _ if out == packet => {
                *(if said == Said::Pass { &mut tally.passed } else { &mut tally.up }) += 1;
                Ok(())
            }
            Said::Pass => Err("the program changed it and passed it on".to_owned()),
            Said::Sent => {
                tally.same += 1;
                let [expected] = sent else {
                    return Err(format!("the engine sent {} packets, the program {out:02x?}", sent.len()));
                };
                if !translated || comparable(expected) != comparable(out) {
                    return Err(format!(
                        "in      {packet:02x?}\nengine  {expected:02x?}\nprogram {out:02x?}"
                    ));
                }
                Ok(())
            }
        }
    }
}

/// A packet with what may differ taken out: the identification of IPv4, and what it does to the header's checksum.
fn comparable(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet.len() >= 20 && packet[0] >> 4 == 4 {
        let sum = |packet: &[u8]| xlat_packet::checksum::Sum::of(&packet[..20]).fold();
        let right = sum(&packet) == 0xffff;
        packet[4..6].fill(0);
        packet[10..12].fill(u8::from(right));
    }
    packet
}
