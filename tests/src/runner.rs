//! Plays the cases of vector files on a [`Subject`] and says what differs.

use crate::packet::{Env, Frame, encode};
use crate::parse::{self, Text, Value};
use crate::show;
use crate::vector::{Case, Expected, Fate, Host, Step};

/// What came of one packet, or of the clock moving.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Packets that came out, in order.
    pub out: Vec<Frame>,
    /// What became of the packet; none where the subject cannot tell (a device, or the clock).
    pub fate: Option<Fate>,
}

/// Something that translates: the bare engine, or a device in a namespace.
pub trait Subject {
    /// Starts anew with this configuration (TOML) on this host. An error says why it does not work.
    fn configure(&mut self, config: &str, host: &Host) -> Result<(), String>;
    /// Gives it one packet.
    fn packet(&mut self, frame: &Frame) -> Reply;
    /// Moves its clock.
    fn advance(&mut self, milliseconds: u64) -> Reply;
}

/// Plays one case. The error says, line by line, what differs.
pub fn play(case: &Case, subject: &mut dyn Subject) -> Result<(), String> {
    let mut run = Run {
        host: &case.host,
        env: Env::new(),
        offenders: Vec::new(),
        pending: None,
        faults: String::new(),
    };
    subject.configure(&case.config, &case.host).map_err(|e| format!("    configuration refused: {e}\n"))?;
    let mut line = case.line;
    for (at, step) in &case.steps {
        match step {
            Step::In(text) => {
                run.finish(line);
                match encode(text, &run.env) {
                    Ok(frame) if frame.holes.is_empty() => {
                        run.offenders.push((text.clone(), frame.clone()));
                        run.pending = Some(Pending::new(subject.packet(&frame), false));
                    }
                    Ok(_) => run.fault(*at, "a variable is not bound yet"),
                    Err(e) => run.fault(*at, &e),
                }
            }
            Step::Advance(milliseconds) => {
                run.finish(line);
                run.pending = Some(Pending::new(subject.advance(*milliseconds), true));
            }
            Step::Out(expected) => run.out(*at, expected),
            Step::Fate(fate) => run.fate(*at, fate),
            Step::Within(name, low, high) => match run.env.get(name) {
                Some(value) if (low..=high).contains(&value) => {}
                other => run.fault(*at, &format!("{name} is {other:?}, not {low} to {high}")),
            },
            Step::Differ(a, b) => {
                if run.value(a) == run.value(b) {
                    run.fault(*at, &format!("{a:?} and {b:?} are the same: {:?}", run.value(a)));
                }
            }
        }
        line = *at;
    }
    run.finish(line);
    if run.faults.is_empty() { Ok(()) } else { Err(run.faults) }
}

/// What came out and is not yet asked for.
struct Pending {
    out: std::vec::IntoIter<Frame>,
    fate: Option<Fate>,
    /// The case has said what became of the packet, or there is nothing to say.
    said: bool,
}

impl Pending {
    fn new(reply: Reply, said: bool) -> Self {
        Self { out: reply.out.into_iter(), fate: reply.fate, said }
    }
}

struct Run<'a> {
    host: &'a Host,
    env: Env,
    /// The packets that went in, for the errors about them.
    offenders: Vec<(Text, Frame)>,
    pending: Option<Pending>,
    faults: String,
}

impl Run<'_> {
    fn fault(&mut self, line: usize, text: &str) {
        self.faults += &format!("    line {line}: {text}\n");
    }

    fn value(&self, value: &Value) -> Option<u128> {
        match value {
            Value::Num(number) => Some(*number),
            Value::Var(name) => self.env.get(name).copied(),
            Value::Hex(_) | Value::Plus(_) => None,
        }
    }

    /// Nothing more may have come out, and an unmentioned fate is that the packet passed.
    fn finish(&mut self, line: usize) {
        let Some(pending) = self.pending.take() else { return };
        for frame in pending.out {
            self.fault(
                line,
                &format!("one more came out: {}\n      {}", show::summary(&frame), show::hex(&frame.bytes)),
            );
        }
        match pending.fate {
            None | Some(Fate::Passed) => {}
            Some(_) if pending.said => {}
            Some(other) => self.fault(line, &format!("not passed on but {other:?}")),
        }
    }

    fn out(&mut self, line: usize, expected: &Expected) {
        let actual = self.pending.as_mut().and_then(|pending| pending.out.next());
        let text = match expected {
            Expected::Packet(text) => Ok(text.clone()),
            Expected::Error(text) => self.own_error(text),
        };
        let checked = text.and_then(|text| match &actual {
            Some(frame) => matches(&text, frame, &mut self.env),
            None => {
                Err(format!("nothing came out ({:?})", self.pending.as_ref().and_then(|p| p.fate.clone())))
            }
        });
        if let Err(message) = checked {
            self.fault(line, &message);
        }
    }

    fn fate(&mut self, line: usize, expected: &Fate) {
        let Some(pending) = &mut self.pending else { return self.fault(line, "no packet went in") };
        pending.said = true;
        let agrees = match (&pending.fate, expected) {
            (None, _) => true,
            (Some(Fate::Dropped(got)), Fate::Dropped(want))
            | (Some(Fate::Returned(got)), Fate::Returned(want))
            | (Some(Fate::Held(got)), Fate::Held(want)) => {
                want.is_empty() || want.split('|').any(|w| w.trim() == got)
            }
            (Some(got), want) => got == want,
        };
        if !agrees {
            let got = pending.fate.clone();
            self.fault(line, &format!("expected {expected:?}, got {got:?}"));
        }
    }

    /// The error that the translator itself sends about a packet (the last one in, or `about N`): as much of it quoted as fits 576
    /// bytes (RFC 1812 4.3.2.3) or 1280 (RFC 4443 2.4), hop limit and Don't Fragment free.
    fn own_error(&self, text: &str) -> Result<Text, String> {
        let (text, about) = text.split_once(" about ").unwrap_or((text, ""));
        let number =
            if about.is_empty() { self.offenders.len() } else { parse::number(about.trim())? as usize };
        let offender = number.checked_sub(1).and_then(|i| self.offenders.get(i));
        let (offender, frame) = offender.ok_or("no such packet went in")?;
        let v6 = offender.layers.first().is_some_and(|l| l.kind == parse::Kind::Ip6);
        let (words, from) = text.split_once(" from ").unwrap_or((text, ""));
        let own = if v6 {
            self.host.addrs6.first().map(ToString::to_string)
        } else {
            self.host.addrs4.first().map(|(addr, _)| addr.to_string())
        };
        let from =
            if from.is_empty() { own.ok_or("the host has no address")? } else { from.trim().to_owned() };
        let room = if v6 { 1280 - 48 } else { 576 - 28 };
        let quoted: String = frame.bytes.iter().take(room).map(|b| format!("{b:02x}")).collect();
        let mut error = parse::packet(&if v6 {
            format!("ip6 {from} > $to hop=* | icmp6 {words} | raw {quoted}")
        } else {
            format!("ip4 {from} > $to ttl=* tos=* id=* flags=* | icmp4 {words} | raw {quoted}")
        })?;
        error.layers[0].args[1] = offender.layers[0].args[0].clone();
        Ok(error)
    }
}

/// Checks `actual` against `text`, binding what was unbound. The error is the difference.
pub fn matches(text: &Text, actual: &Frame, env: &mut Env) -> Result<(), String> {
    let mut bound = env.clone();
    let mut expected = encode(text, &bound)?;
    for hole in expected.holes.clone() {
        let bytes = actual.bytes.get(hole.at..hole.at + hole.width).unwrap_or_default();
        let value = bytes.iter().fold(0, |value, byte| value << 8 | u128::from(*byte));
        bound.entry(hole.name).or_insert(value);
    }
    expected = encode(text, &bound)?;
    let offload = |frame: &Frame| (frame.partial, frame.gso);
    if expected.bytes != actual.bytes || offload(&expected) != offload(actual) {
        return Err(format!("differs\n{}", show::difference(&expected, actual)));
    }
    bound.retain(|name, _| !name.starts_with('*'));
    *env = bound;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::read;

    /// Answers each packet with prepared ones.
    struct Prepared(Vec<Reply>);

    impl Subject for Prepared {
        fn configure(&mut self, _: &str, _: &Host) -> Result<(), String> {
            Ok(())
        }
        fn packet(&mut self, _: &Frame) -> Reply {
            self.0.remove(0)
        }
        fn advance(&mut self, _: u64) -> Reply {
            self.0.remove(0)
        }
    }

    fn frame(text: &str) -> Frame {
        encode(&parse::packet(text).unwrap(), &Env::new()).unwrap()
    }

    fn played(case: &str, out: &[&str], fate: Fate) -> Result<(), String> {
        let reply = Reply { out: out.iter().map(|text| frame(text)).collect(), fate: Some(fate) };
        play(&read(case).unwrap()[0], &mut Prepared(vec![reply]))
    }

    const CASE: &str = "host 192.0.2.9/24\ncase a\n in ip4 192.0.2.1 > 192.0.2.2 | udp 1 > 2\n ";

    #[test]
    fn variables_bind_and_hold() {
        let case = format!("{CASE}out ip4 192.0.2.3 > 192.0.2.2 | udp $p > 2\n where $p in 60000 60001");
        assert_eq!(played(&case, &["ip4 192.0.2.3 > 192.0.2.2 id=99 | udp 60001 > 2"], Fate::Passed), Ok(()));
        let wrong = played(&case, &["ip4 192.0.2.3 > 192.0.2.2 | udp 1 > 2"], Fate::Passed).unwrap_err();
        assert!(wrong.contains("$p is Some(1), not 60000 to 60001"), "{wrong}");
        let wrong =
            played(&case, &["ip4 192.0.2.3 > 192.0.2.2 | udp 60000 > 2 csum+1"], Fate::Passed).unwrap_err();
        assert!(wrong.contains("udp.csum"), "{wrong}");
    }

    #[test]
    fn own_errors_quote_the_packet() {
        let case = format!("{CASE}error 3/13\n drop no|yes");
        let error = "ip4 192.0.2.9 > 192.0.2.1 tos=0xc0 | icmp4 3/13 | ip4 192.0.2.1 > 192.0.2.2 | udp 1 > 2";
        assert_eq!(played(&case, &[error], Fate::Dropped("yes".into())), Ok(()));
        let wrong = played(&case, &[error], Fate::Dropped("other".into())).unwrap_err();
        assert!(wrong.contains("expected Dropped(\"no|yes\"), got Some(Dropped(\"other\"))"), "{wrong}");
    }

    #[test]
    fn silence_and_surplus_are_faults() {
        let out = "ip4 192.0.2.3 > 192.0.2.2 | udp 1 > 2";
        assert!(played(CASE, &[out], Fate::Passed).unwrap_err().contains("one more came out"));
        assert!(played(CASE, &[], Fate::Dropped("x".into())).unwrap_err().contains("not passed on"));
        assert!(
            played(&format!("{CASE}out {out}"), &[], Fate::Passed).unwrap_err().contains("nothing came out")
        );
    }
}
