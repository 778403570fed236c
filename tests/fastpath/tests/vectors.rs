//! The golden vectors' packets through the program: what the engine, which the vectors hold to the RFCs, makes of each, the
//! program makes too, or leaves it to the engine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something it relies on fails")]

use xlat_fastpath_tests::compare::{Pair, Tally};
use xlat_fastpath_tests::program::{Hook, Program};
use xlat_fastpath_tests::world::World;
use xlat_tests::corpus;
use xlat_tests::packet::Frame;
use xlat_tests::runner::{Reply, Subject, play};
use xlat_tests::vector::Host;
use xlat_translate::refused::HostAddresses;

/// The engine answers; the program is compared with it.
struct Beside {
    engine: xlat_tests::engine::Bare,
    pair: Option<Pair>,
    /// The program can play the case.
    plays: bool,
    tally: Tally,
    faults: Vec<String>,
}

impl Subject for Beside {
    fn configure(&mut self, config: &str, host: &Host) -> Result<(), String> {
        self.engine.configure(config, host)?;
        // Its own kernel's MTU is 1500; a simple hairpin is only for hosts where the daemon gets no packet back.
        self.plays = host.mtu4 == 1500 && host.mtu6 == 1500 && !config.contains("simple");
        if !self.plays {
            return Ok(());
        }
        let loaded =
            xlat_config::load("case", config, &xlat_config::Hint::default()).map_err(|e| e.to_string())?;
        let addresses = HostAddresses::new(host.addrs4.clone(), host.addrs6.clone());
        match self.pair.take() {
            Some(mut pair) => {
                pair.restart(&loaded.config, addresses)?;
                self.pair = Some(pair);
            }
            None => {
                let program = Program::load(World::enter()?)?;
                self.pair = Some(Pair::new(program, &loaded.config, addresses)?);
            }
        }
        Ok(())
    }

    fn packet(&mut self, frame: &Frame) -> Reply {
        let reply = self.engine.packet(frame);
        // A test run has neither partial checksums nor super-packets.
        let plain = frame.partial.is_none() && frame.gso.is_none() && !frame.verified;
        let (Some(pair), true) = (&mut self.pair, self.plays && plain) else { return reply };
        let translated = reply.fate == Some(xlat_tests::vector::Fate::Passed);
        let sent: Vec<_> = reply.out.iter().map(|frame| frame.bytes.clone()).collect();
        let mut result =
            pair.check(Hook::Ingress, &frame.bytes, frame.mark, (translated, &sent), &mut self.tally);
        if let (true, [after]) = (translated, &sent[..]) {
            result = result.and_then(|()| pair.promote(&frame.bytes, after, frame.mark));
            for hook in [Hook::Ingress, Hook::Xdp] {
                let tally = &mut self.tally;
                result = result
                    .and_then(|()| pair.check(hook, &frame.bytes, frame.mark, (translated, &sent), tally));
            }
        }
        self.faults.extend(result.err());
        reply
    }

    fn advance(&mut self, milliseconds: u64) -> Reply {
        // The engine takes out what has ended; here everything goes.
        if let Some(pair) = &mut self.pair {
            self.faults.extend(pair.program.forget_flows().err());
        }
        self.engine.advance(milliseconds)
    }
}

#[test]
fn golden_vectors() {
    if let Some(why) = xlat_netlab::unavailable() {
        eprintln!("skipped: {why}");
        return;
    }
    let mut beside = Beside {
        engine: xlat_tests::engine::Bare::default(),
        pair: None,
        plays: false,
        tally: Tally::default(),
        faults: Vec::new(),
    };
    let mut failed = Vec::new();
    for (path, cases) in corpus::files().unwrap() {
        for case in &cases {
            let outcome = play(case, &mut beside);
            assert_eq!(outcome, Ok(()), "{}: the engine itself", case.name);
            let faults = std::mem::take(&mut beside.faults);
            failed.extend(
                faults.iter().map(|fault| format!("{}:{} {}\n{fault}", path.display(), case.line, case.name)),
            );
        }
    }
    let Tally { same, up, passed } = beside.tally;
    println!("the same {same}, handed up {up}, left {passed}");
    assert!(failed.is_empty(), "{} differ\n{}", failed.len(), failed.join("\n"));
    assert!(same > 200, "the program translates: {same}");
}
