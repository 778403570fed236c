//! What is behind the operation, as a typed command: pure functions from words (cli 4 to 13). What only the translator can
//! know is left to it.

use ipnet::{Ipv4Net, Ipv6Net};
use xlat_control::Change;
use xlat_control::api::{BibPair, Framework, MaxIterations, Pool4Block, Protocol};
use xlat_control::globals::{self, Key};

use super::fail::{Fail, TOO_BIG};
use super::keyword::{Keyword, global_keys, modes, resolve};
use super::options::{Item, Switch, second};
use super::session::{self, Synchronise};
use super::values::{self, Shape, shape};
use super::{Program, switches};

/// How a table is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) csv: bool,
    pub(super) no_headers: bool,
    pub(super) numeric: bool,
}

/// Everything that can be asked for.
#[derive(Debug)]
pub(super) enum Command {
    InstanceDisplay(Format),
    InstanceAdd {
        name: Option<String>,
        framework: Framework,
        pool6: Option<Ipv6Net>,
    },
    InstanceRemove {
        name: Option<String>,
    },
    InstanceFlush,
    InstanceStatus,
    Stats {
        format: Format,
        all: bool,
        explain: bool,
    },
    Address {
        verbose: bool,
        query: std::net::IpAddr,
    },
    GlobalDisplay(Format),
    /// The value is looked at when the translator is known to be there.
    GlobalUpdate {
        key: &'static Key,
        word: String,
        force: bool,
    },
    Eamt(Format),
    Denylist4(Format),
    Pool4(Format, Protocol),
    Bib(Format, Protocol),
    Session(Format, Protocol),
    /// What concerns other translators.
    Synchronise(Synchronise),
    /// Anything that needs nothing else.
    Change(Change),
    File {
        path: String,
        force: bool,
        check: bool,
    },
}

/// The words from the mode on.
pub(super) fn parse(program: Program, words: &[String]) -> Result<(Command, Vec<&'static str>), Fail> {
    let translator = program.translator();
    let known: Vec<Keyword> = modes(translator).map(|mode| mode.keyword).collect();
    let mode = resolve(words.first().map(String::as_str), &known)?;
    let operations =
        modes(translator).find(|found| found.keyword.name == mode).map_or(&[][..], |found| found.operations);
    let operation = resolve(words.get(1).map(String::as_str), operations)?;
    let mut rest = words.get(2..).unwrap_or_default();
    let own = switches::of(mode, operation);
    let mut warnings = Vec::new();
    if mode == "blacklist4" {
        warnings.push("blacklist4 is deprecated. Use 'denylist4' instead.");
    }
    let command = match (mode, operation) {
        ("instance", "display") => Command::InstanceDisplay(display(operation, rest, own)?.0),
        ("instance", "add") => instance_add(operation, own, rest)?,
        ("instance", "remove") => {
            let arguments = Arguments::read(operation, own, rest)?;
            Command::InstanceRemove { name: arguments.name()? }
        }
        ("instance", "flush") => nothing(operation, rest, Command::InstanceFlush)?,
        ("instance", "status") => nothing(operation, rest, Command::InstanceStatus)?,
        ("stats", _) => {
            let (format, items) = display(operation, rest, own)?;
            let has = |name| items.contains(&Item::Option(name, None));
            Command::Stats { format, all: has("all"), explain: has("explain") }
        }
        ("address", _) => address(operation, own, rest)?,
        ("global", "display") => Command::GlobalDisplay(display(operation, rest, own)?.0),
        ("global", _) => {
            let name = resolve(rest.first().map(String::as_str), &global_keys(translator))?;
            rest = rest.get(1..).unwrap_or_default();
            global_update(program, name, own, rest)?
        }
        ("eamt", "display") => Command::Eamt(display(operation, rest, own)?.0),
        ("eamt", "flush") => nothing(operation, rest, Command::Change(Change::EamtFlush))?,
        ("eamt", _) => eamt(operation, own, rest)?,
        ("denylist4" | "blacklist4", "display") => Command::Denylist4(display(operation, rest, own)?.0),
        ("denylist4" | "blacklist4", "flush") => {
            nothing(operation, rest, Command::Change(Change::Denylist4Flush))?
        }
        ("denylist4" | "blacklist4", _) => denylist4(operation, own, rest)?,
        ("pool4", "display") => {
            let (format, items) = display(operation, rest, own)?;
            Command::Pool4(format, protocol(&items)?.unwrap_or_default())
        }
        ("pool4", "add") => pool4_add(operation, own, rest)?,
        ("pool4", "remove") => pool4_remove(operation, own, rest)?,
        ("pool4", _) => {
            Arguments::read(operation, own, rest)?.no_words(operation)?;
            Command::Change(Change::Pool4Flush)
        }
        ("bib", "display") => {
            let (format, items) = display(operation, rest, own)?;
            Command::Bib(format, protocol(&items)?.unwrap_or_default())
        }
        ("bib", _) => bib(operation, own, rest)?,
        ("session", "display") => {
            let (format, items) = display(operation, rest, own)?;
            Command::Session(format, protocol(&items)?.unwrap_or_default())
        }
        ("session" | "joold", _) => {
            Command::Synchronise(session::parse(operation, &Arguments::read(operation, own, rest)?)?)
        }
        (_file, _) => file(operation, own, rest)?,
    };
    Ok((command, warnings))
}

/// Options and words of an operation.
pub(super) struct Arguments {
    items: Vec<Item>,
}

impl Arguments {
    fn read(operation: &str, own: &[Switch], words: &[String]) -> Result<Self, Fail> {
        second(operation, own, words).map(|items| Self { items })
    }

    fn has(&self, name: &str) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Option(long, _) if *long == name))
    }

    /// The argument of an option; of several the last.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.items.iter().rev().find_map(|item| match item {
            Item::Option(long, argument) if *long == name => argument.as_deref(),
            Item::Option(..) | Item::Word(_) => None,
        })
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| match item {
            Item::Word(word) => Some(word.as_str()),
            Item::Option(..) => None,
        })
    }

    /// The words that look like `wanted`; of several the last. One that looks like nothing in `allowed` is too much.
    fn shaped(&self, operation: &str, wanted: Shape, allowed: &[Shape]) -> Result<Option<&str>, Fail> {
        if self.words().any(|word| !allowed.contains(&shape(word))) {
            return Err(Fail::argp(operation, "Too many arguments"));
        }
        Ok(self.words().filter(|word| shape(word) == wanted).last())
    }

    pub(super) fn no_words(&self, operation: &str) -> Result<(), Fail> {
        match self.words().next() {
            None => Ok(()),
            Some(_) => Err(Fail::argp(operation, "Too many arguments")),
        }
    }

    /// An instance's name.
    fn name(&self) -> Result<Option<String>, Fail> {
        self.words().last().map(|word| instance_name(word).map(|()| word.to_owned())).transpose()
    }
}

/// The rules of cli 4.1.
pub(super) fn instance_name(name: &str) -> Result<(), Fail> {
    if name.len() <= 15 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(());
    }
    Err(Fail::invalid("The instance name must be a null-terminated ascii string, 15 characters max."))
}

/// `The command is missing A, B and C.`
fn missing(what: &[(bool, &str)]) -> Result<(), Fail> {
    let what: Vec<&str> = what.iter().filter(|(is_there, _)| !is_there).map(|(_, name)| *name).collect();
    match what.split_last() {
        None => Ok(()),
        Some((only, [])) => Err(Fail::usage(format!("The command is missing {only}.\n"))),
        Some((last, rest)) => {
            Err(Fail::usage(format!("The command is missing {} and {last}.\n", rest.join(", "))))
        }
    }
}

/// At most one of the three flags.
fn protocol(items: &[Item]) -> Result<Option<Protocol>, Fail> {
    let mut found = items.iter().filter_map(|item| match item {
        Item::Option("tcp", _) => Some(Protocol::Tcp),
        Item::Option("udp", _) => Some(Protocol::Udp),
        Item::Option("icmp", _) => Some(Protocol::Icmp),
        Item::Option(..) | Item::Word(_) => None,
    });
    let first = found.next();
    match found.next() {
        None => Ok(first),
        Some(_) => Err(Fail::invalid("Only one protocol is allowed per request.")),
    }
}

fn nothing(operation: &str, words: &[String], command: Command) -> Result<Command, Fail> {
    Arguments::read(operation, &[], words)?.no_words(operation)?;
    Ok(command)
}

fn display(operation: &str, words: &[String], own: &[Switch]) -> Result<(Format, Vec<Item>), Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    arguments.no_words(operation)?;
    let has = |name| arguments.has(name);
    let format = Format { csv: has("csv"), no_headers: has("no-headers"), numeric: has("numeric") };
    Ok((format, arguments.items))
}

fn instance_add(operation: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    let framework = match (arguments.has("netfilter"), arguments.has("iptables")) {
        (true, true) => return Err(Fail::invalid("The translator can only be hooked to one framework.")),
        (_, false) => Framework::Netfilter,
        (false, true) => Framework::Iptables,
    };
    let pool6 = arguments.option("pool6").map(values::prefix6).transpose()?;
    Ok(Command::InstanceAdd { name: arguments.name()?, framework, pool6 })
}

fn address(operation: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    let verbose = arguments.has("verbose");
    let both = [Shape::V6, Shape::V4];
    let v6 = arguments.shaped(operation, Shape::V6, &both)?;
    let v4 = arguments.shaped(operation, Shape::V4, &both)?;
    missing(&[(v6.or(v4).is_some(), "an IP address")])?;
    let query = match (v6, v4) {
        (Some(word), _) => values::address6(word)?.into(),
        (None, word) => values::address4(word.unwrap_or_default())?.into(),
    };
    Ok(Command::Address { verbose, query })
}

fn global_update(program: Program, name: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(name, own, words)?;
    let no_value = || Fail::invalid(format!("Missing value of key {name}."));
    let word = arguments.words().last().ok_or_else(no_value)?.to_owned();
    let key = globals::keys(program.translator()).find(|key| key.name == name).ok_or_else(no_value)?;
    Ok(Command::GlobalUpdate { key, word, force: arguments.has("force") })
}

fn eamt(operation: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    let both = [Shape::V6, Shape::V4];
    let ipv6 = arguments.shaped(operation, Shape::V6, &both)?.map(values::prefix6).transpose()?;
    let ipv4 = arguments.shaped(operation, Shape::V4, &both)?.map(values::prefix4).transpose()?;
    if operation == "remove" {
        missing(&[(ipv6.is_some() || ipv4.is_some(), "a prefix")])?;
        return Ok(Command::Change(Change::EamtRemove { ipv6, ipv4 }));
    }
    match (ipv6, ipv4) {
        (Some(ipv6), Some(ipv4)) => {
            Ok(Command::Change(Change::EamtAdd { ipv6, ipv4, force: arguments.has("force") }))
        }
        _incomplete => {
            Err(missing(&[(ipv6.is_some(), "an IPv6 prefix"), (ipv4.is_some(), "an IPv4 prefix")])
                .err()
                .unwrap_or_default())
        }
    }
}

fn denylist4(operation: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    let word = arguments.shaped(operation, Shape::V4, &[Shape::V4])?;
    missing(&[(word.is_some(), "an IPv4 prefix")])?;
    let prefix = values::prefix4(word.unwrap_or_default())?;
    Ok(Command::Change(match operation {
        "add" => Change::Denylist4Add { prefix, force: arguments.has("force") },
        _remove => Change::Denylist4Remove { prefix },
    }))
}

fn mark(arguments: &Arguments) -> Result<u32, Fail> {
    let mark = values::unsigned(arguments.option("mark").unwrap_or("0"), 0, u32::MAX.into())?;
    // Within the bounds.
    Ok(u32::try_from(mark).unwrap_or(u32::MAX))
}

fn iterations(word: &str) -> Result<MaxIterations, Fail> {
    Ok(match word {
        "auto" => MaxIterations::Auto,
        "infinity" => MaxIterations::Infinity,
        _ => {
            let count = values::unsigned(word, 0, u32::MAX.into())?;
            MaxIterations::Count(u32::try_from(count).unwrap_or(u32::MAX))
        }
    })
}

fn pool4_add(operation: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    let protocol = protocol(&arguments.items)?;
    let prefix = arguments.shaped(operation, Shape::V4, &[Shape::V4, Shape::Other])?;
    let range = arguments.shaped(operation, Shape::Other, &[Shape::V4, Shape::Other])?;
    missing(&[
        (prefix.is_some(), "an IPv4 prefix or address"),
        (range.is_some(), "a port (or ICMP id) range"),
        (protocol.is_some(), "a protocol (--tcp, --udp or --icmp)"),
    ])?;
    let prefix: Ipv4Net = values::prefix4(prefix.unwrap_or_default())?;
    let (first_port, last_port) = values::port_range(range.unwrap_or_default())?;
    let force = arguments.has("force");
    if prefix.prefix_len() < 24 && !force {
        return Err(Fail {
            stderr:
                "Error: Warning: this prefix adds lots of addresses, which is seldom what a NAT64 is for.\n\
                     Error: Nothing was added. Use --force if it is meant.\n"
                    .to_owned(),
            code: TOO_BIG,
            ..Fail::default()
        });
    }
    let max_iterations = arguments.option("max-iterations").map(iterations).transpose()?;
    let (mark, protocol) = (mark(&arguments)?, protocol.unwrap_or_default());
    let block = Pool4Block { mark, protocol, prefix, first_port, last_port };
    Ok(Command::Change(Change::Pool4Add { block, max_iterations, force }))
}

fn pool4_remove(operation: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    let protocol = protocol(&arguments.items)?.unwrap_or_default();
    let prefix = arguments.shaped(operation, Shape::V4, &[Shape::V4, Shape::Other])?;
    let range = arguments.shaped(operation, Shape::Other, &[Shape::V4, Shape::Other])?;
    missing(&[(prefix.is_some(), "an IPv4 prefix or address")])?;
    let prefix = values::prefix4(prefix.unwrap_or_default())?;
    let (first_port, last_port) = range.map_or(Ok((0, 65535)), values::port_range)?;
    let block = Pool4Block { mark: mark(&arguments)?, protocol, prefix, first_port, last_port };
    Ok(Command::Change(Change::Pool4Remove { block, quick: arguments.has("quick") }))
}

fn bib(operation: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    let protocol = protocol(&arguments.items)?.unwrap_or_default();
    let both = [Shape::V6, Shape::V4];
    let ipv6 = arguments.shaped(operation, Shape::V6, &both)?.map(values::transport6).transpose()?;
    let ipv4 = arguments.shaped(operation, Shape::V4, &both)?.map(values::transport4).transpose()?;
    if operation == "remove" {
        missing(&[(ipv6.is_some() || ipv4.is_some(), "at least one transport address")])?;
        return Ok(Command::Change(Change::BibRemove { protocol, ipv6, ipv4 }));
    }
    match (ipv6, ipv4) {
        (Some(ipv6), Some(ipv4)) => Ok(Command::Change(Change::BibAdd(BibPair { protocol, ipv6, ipv4 }))),
        _incomplete => Err(missing(&[
            (ipv6.is_some(), "an IPv6 transport address"),
            (ipv4.is_some(), "an IPv4 transport address"),
        ])
        .err()
        .unwrap_or_default()),
    }
}

fn file(operation: &str, own: &[Switch], words: &[String]) -> Result<Command, Fail> {
    let arguments = Arguments::read(operation, own, words)?;
    let path = arguments.words().last().map(str::to_owned);
    missing(&[(path.is_some(), "a file name")])?;
    let (force, check) = (arguments.has("force"), operation == "check");
    Ok(Command::File { path: path.unwrap_or_default(), force, check })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(program: Program, line: &str) -> Result<String, (String, u8)> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(program, &words) {
            Ok((command, _)) => Ok(format!("{command:?}")),
            Err(fail) => Err((fail.stderr, fail.code)),
        }
    }

    /// Sentences of the contract, each with its exit code.
    #[test]
    fn refusals() {
        use Program::{Jool, JoolSiit};
        let argp = |operation: &str, what: &str| {
            format!(
                "{operation}: {what}\nTry `{operation} --help' or `{operation} --usage' for more information.\n"
            )
        };
        for (program, line, stderr, code) in [
            (
                Jool,
                "instance add --netfilter --iptables",
                "Error: The translator can only be hooked to one framework.\n",
                234,
            ),
            (
                Jool,
                "instance add 1234567890123456",
                "Error: The instance name must be a null-terminated ascii string, 15 characters max.\n",
                234,
            ),
            (
                Jool,
                "pool4 add",
                "The command is missing an IPv4 prefix or address, a port (or ICMP id) range and a protocol (--tcp, --udp or --icmp).\n",
                234,
            ),
            (Jool, "pool4 add 192.0.2.1 --tcp", "The command is missing a port (or ICMP id) range.\n", 234),
            (Jool, "pool4 display --tcp -t", "Error: Only one protocol is allowed per request.\n", 234),
            (Jool, "bib add 192.0.2.1#80", "The command is missing an IPv6 transport address.\n", 234),
            (
                Jool,
                "bib add",
                "The command is missing an IPv6 transport address and an IPv4 transport address.\n",
                234,
            ),
            (Jool, "bib remove", "The command is missing at least one transport address.\n", 234),
            (JoolSiit, "eamt add", "The command is missing an IPv6 prefix and an IPv4 prefix.\n", 234),
            (JoolSiit, "eamt remove", "The command is missing a prefix.\n", 234),
            (JoolSiit, "address query", "The command is missing an IP address.\n", 234),
            (JoolSiit, "file handle", "The command is missing a file name.\n", 234),
            (Jool, "global update udp-timeout", "Error: Missing value of key udp-timeout.\n", 234),
            (
                Jool,
                "pool4 add 192.0.2.1 80 --tcp --mark x",
                "Error: 'x' is not an unsigned integer. (error code 1)\n",
                1,
            ),
        ] {
            assert_eq!(read(program, line).unwrap_err(), (stderr.to_owned(), code), "{line}");
        }
        for (program, line, operation, what) in [
            (JoolSiit, "address query 80", "query", "Too many arguments"),
            (JoolSiit, "eamt add 80", "add", "Too many arguments"),
            (Jool, "bib display x", "display", "Too many arguments"),
            (Jool, "instance flush x", "flush", "Too many arguments"),
            (Jool, "pool4 display --foo", "display", "unrecognized option '--foo'"),
        ] {
            assert_eq!(read(program, line).unwrap_err(), (argp(operation, what), 64), "{line}");
        }
        assert_eq!(read(Jool, "pool4 add 10.0.0.0/8 80 --tcp").unwrap_err().1, 249);
        assert!(read(Jool, "pool4 add 10.0.0.0/23 80 --tcp --force").is_ok());
        assert_eq!(read(Jool, "session advertise --whatever").unwrap_err().1, 64);
    }

    #[test]
    fn both_orders_mean_the_same() {
        let siit = |line| read(Program::JoolSiit, line).unwrap();
        assert_eq!(
            siit("eamt add 2001:db8:4::/120 192.0.2.0/24 -f"),
            siit("e a --force 192.0.2.0/24 2001:db8:4::/120")
        );
        let nat64 = |line| read(Program::Jool, line).unwrap();
        assert_eq!(
            nat64("bib add 192.0.2.1#80 2001:db8::1#80 --udp"),
            nat64("b a -u 2001:db8::1#80 192.0.2.1#80")
        );
        assert_eq!(
            nat64("pool4 add --tcp 2000-1000 192.0.2.1/32"),
            nat64("pool4 add 192.0.2.1 1000-2000 --tcp --mark 0")
        );
        assert_eq!(nat64("bib display"), nat64("bib display --tcp"));
    }
}
