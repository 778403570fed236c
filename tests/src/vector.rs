//! The reader of vector files: a configuration, facts about the host, and cases of packets in and out.
//! The form is described in `tests/vectors/README.md`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::parse::{self, Text, Value};

/// What the translator may know of the host it runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// IPv4 addresses with prefix lengths, the first one is used as source.
    pub addrs4: Vec<(Ipv4Addr, u8)>,
    /// IPv6 addresses, the first one is used as source.
    pub addrs6: Vec<Ipv6Addr>,
    /// MTU of every IPv4 route, in bytes.
    pub mtu4: u32,
    /// MTU of every IPv6 route, in bytes.
    pub mtu6: u32,
}

/// What happens to a packet that goes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It, or what became of it, was sent on.
    Passed,
    /// Refused for good, under a name.
    Dropped(String),
    /// Not for the translator, under a name.
    Returned(String),
    /// Kept until more is known.
    Held(String),
}

/// A packet expected to come out.
#[derive(Clone, Debug)]
pub enum Expected {
    /// As written.
    Packet(Text),
    /// An ICMP error about the packet that went in: type and code, other keys, source (or the host's first).
    Error(String),
}

/// One line of a case.
#[derive(Clone, Debug)]
pub enum Step {
    /// A packet goes in.
    In(Text),
    /// This one comes out.
    Out(Expected),
    /// This became of the last packet in; several names are alternatives.
    Fate(Fate),
    /// The clock moves by so many milliseconds.
    Advance(u64),
    /// The variable lies in the range, ends included.
    Within(String, u128, u128),
    /// The two differ.
    Differ(Value, Value),
}

/// One case: everything needed to play it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unique in the file.
    pub name: String,
    /// Line of the file where it begins.
    pub line: usize,
    /// Configuration in xlat's own format.
    pub config: String,
    /// The host.
    pub host: Host,
    /// What happens, each with its line number.
    pub steps: Vec<(usize, Step)>,
}

/// Reads a file. The error begins with the number of the line that is wrong.
pub fn read(text: &str) -> Result<Vec<Case>, String> {
    let mut file = File::default();
    for (i, line) in text.lines().enumerate() {
        file.line(i + 1, line).map_err(|message| format!("{}: {message}", i + 1))?;
    }
    for (i, case) in file.cases.iter().enumerate() {
        if let Some(twin) = file.cases[..i].iter().find(|other| other.name == case.name) {
            return Err(format!("{}: `{}` is the name of line {} too", case.line, case.name, twin.line));
        }
    }
    Ok(file.cases)
}

struct File {
    config: String,
    host: Host,
    names: BTreeMap<String, String>,
    cases: Vec<Case>,
    in_config: bool,
    in_case: bool,
}

impl Default for File {
    fn default() -> Self {
        let host = Host { addrs4: Vec::new(), addrs6: Vec::new(), mtu4: 1500, mtu6: 1500 };
        let (config, names, cases) = Default::default();
        Self { config, host, names, cases, in_config: false, in_case: false }
    }
}

impl File {
    fn line(&mut self, number: usize, full: &str) -> Result<(), String> {
        let indented = full.starts_with([' ', '\t']);
        if self.in_config && (indented || full.trim().is_empty()) {
            self.config += full.trim();
            self.config += "\n";
            return Ok(());
        }
        self.in_config = false;
        let line = full.split_once(" #").map_or(full, |(line, _)| line).trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !indented {
            self.in_case = word == "case";
        }
        match word {
            "config" => (self.in_config, self.config) = (true, String::new()),
            "let" => {
                let (name, text) = rest.split_once('=').ok_or("`let` needs a name and `=`")?;
                let text = self.expand(text.trim())?;
                self.names.insert(name.trim().to_owned(), text);
            }
            "case" => self.cases.push(Case {
                name: rest.trim().to_owned(),
                line: number,
                config: self.config.clone(),
                host: self.host.clone(),
                steps: Vec::new(),
            }),
            "host" | "mtu4" | "mtu6" => {
                let rest = self.expand(rest)?;
                let last = self.cases.last_mut().filter(|_| self.in_case);
                set_host(last.map_or(&mut self.host, |case| &mut case.host), word, &rest)?;
            }
            _ if !self.in_case => return Err(format!("`{word}` is not known outside a case")),
            _ => {
                let rest = self.expand(rest)?;
                let case = self.cases.last_mut().ok_or("no case yet")?;
                match word {
                    "set" => set(&mut case.config, &rest, true)?,
                    "with" => set(&mut case.config, &rest, false)?,
                    _ => case.steps.push((number, step(word, rest.trim())?)),
                }
            }
        }
        Ok(())
    }

    /// Replaces `@name` by what `let` gave it.
    fn expand(&self, text: &str) -> Result<String, String> {
        let mut parts = text.split('@');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            out += self.names.get(&part[..end]).ok_or_else(|| format!("no `let {}`", &part[..end]))?;
            out += &part[end..];
        }
        Ok(out)
    }
}

fn set_host(host: &mut Host, word: &str, rest: &str) -> Result<(), String> {
    match word {
        "mtu4" => host.mtu4 = parse::number(rest.trim())? as u32,
        "mtu6" => host.mtu6 = parse::number(rest.trim())? as u32,
        _ => {
            (host.addrs4, host.addrs6) = Default::default();
            for addr in rest.split_whitespace() {
                if let Ok(addr) = addr.parse() {
                    host.addrs6.push(addr);
                } else {
                    let (addr, len) = addr.split_once('/').unwrap_or((addr, "32"));
                    let addr = addr.parse().map_err(|_| format!("`{addr}` is not an address"))?;
                    host.addrs4.push((addr, parse::number(len)? as u8));
                }
            }
        }
    }
    Ok(())
}

/// Sets a key of the instance's `global` table (which stands last), or of the instance itself.
fn set(config: &mut String, assignment: &str, global: bool) -> Result<(), String> {
    let (key, _) = assignment.split_once('=').ok_or("an assignment needs `=`")?;
    let same = |line: &&str| line.split_once('=').is_some_and(|(k, _)| k.trim() == key.trim());
    let mut lines: Vec<&str> = config.lines().filter(|line| !same(line)).collect();
    let table = lines.iter().position(|line| line.trim() == "[instance.global]");
    let at = if global { lines.len() } else { table.unwrap_or(lines.len()) };
    if global && table.is_none() {
        lines.push("[instance.global]");
        lines.push(assignment);
    } else {
        lines.insert(at, assignment);
    }
    *config = lines.join("\n") + "\n";
    Ok(())
}

fn step(word: &str, rest: &str) -> Result<Step, String> {
    Ok(match word {
        "in" => Step::In(parse::packet(rest)?),
        "out" => Step::Out(Expected::Packet(with_any_id(parse::packet(rest)?))),
        "error" => Step::Out(Expected::Error(rest.to_owned())),
        "drop" => Step::Fate(Fate::Dropped(rest.to_owned())),
        "return" => Step::Fate(Fate::Returned(rest.to_owned())),
        "held" => Step::Fate(Fate::Held(rest.to_owned())),
        "advance" => Step::Advance(duration(rest)?),
        "where" => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            match words[..] {
                [name, "in", low, high] => Step::Within(name.to_owned(), number(low)?, number(high)?),
                [a, "differs", b] => Step::Differ(parse::value(a, &mut 0)?, parse::value(b, &mut 0)?),
                _ => return Err("`where $x in LOW HIGH` or `where $x differs $y`".to_owned()),
            }
        }
        _ => return Err(format!("no step `{word}`")),
    })
}

fn number(word: &str) -> Result<u128, String> {
    match parse::value(word, &mut 0)? {
        Value::Num(number) => Ok(number),
        _ => Err(format!("`{word}` must be a number or an address")),
    }
}

/// The identification of an IPv4 packet that comes out is free unless the text sets it (RFC 7915 5.1).
fn with_any_id(mut text: Text) -> Text {
    for (i, layer) in text.layers.iter_mut().enumerate() {
        if layer.kind == parse::Kind::Ip4 && layer.keys.iter().all(|(key, _)| key != "id") {
            layer.keys.push(("id".to_owned(), Value::Var(format!("*id{i}"))));
        }
    }
    text
}

fn duration(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        other => return Err(format!("no unit of time `{other}`")),
    };
    Ok(parse::number(digits)? as u64 * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
# comment
host 2001:db8::1 192.0.2.1/24
config
    [[instance]]
    name = \"x\"
    [instance.global]
    pool6 = \"64:ff9b::/96\"
let q = ip4 192.0.2.1 > 192.0.2.2
case one
  set pool6 = \"2001:db8::/96\"
  with denylist4 = []
  mtu6 1280
  in @q | udp 1 > 2
  drop because
case two
  advance 3min
  where $p in 1 0x10
";

    #[test]
    fn file_to_cases() {
        let cases = read(FILE).unwrap();
        assert_eq!(cases.len(), 2);
        let expected =
            "[[instance]]\nname = \"x\"\ndenylist4 = []\n[instance.global]\npool6 = \"2001:db8::/96\"\n";
        assert_eq!(cases[0].config, expected);
        assert_eq!((cases[0].host.mtu6, cases[1].host.mtu6), (1280, 1500));
        assert_eq!(cases[1].host.addrs4, [(Ipv4Addr::new(192, 0, 2, 1), 24)]);
        assert!(matches!(&cases[0].steps[1], (15, Step::Fate(Fate::Dropped(name))) if name == "because"));
        assert!(matches!(cases[1].steps[0], (17, Step::Advance(180_000))));
    }

    #[test]
    fn mistakes_carry_their_line() {
        let message = |text: &str| read(text).unwrap_err();
        assert_eq!(message("case a\n in ip4 1"), "2: `ip4 1` needs 2 to 2 arguments");
        assert_eq!(message("case a\n in @x"), "2: no `let x`");
        assert_eq!(message("case a\ncase a"), "2: `a` is the name of line 1 too");
        assert_eq!(message("in x"), "1: `in` is not known outside a case");
        assert_eq!(message("case a\n advance 3y"), "2: no unit of time `y`");
    }
}
