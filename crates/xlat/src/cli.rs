//! The command line: what can be asked, with its help and examples. What the words mean is in the module of each command.

pub(crate) mod common;
pub(crate) mod control;
pub(crate) mod files;
pub(crate) mod notation;
pub(crate) mod quick;
pub(crate) mod tables;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use clap_complete::engine::ArgValueCompleter;
use ipnet::IpNet;

use crate::commands::complete;
pub(crate) use control::Control;

/// Where the configuration is looked for unless told otherwise.
pub(crate) const CONFIG: &str = "/etc/xlat/xlat.toml";

const EXAMPLES: &str = "\
Examples:
  xlat demo                            see it work; this host is left as it is
  xlat nat64 --pool6 64:ff9b::/96 --pool4 203.0.113.2    a NAT64, without a file
  xlat check /etc/xlat/xlat.toml       is it right, and is this host ready?
  xlat run --config /etc/xlat/xlat.toml
  xlat session --watch
  xlat explain 2001:db8::8 64:ff9b::203.0.113.16 tcp 443";

const RUN_EXAMPLES: &str = "\
Signals:
  SIGHUP            read the file again; one with errors changes nothing
  SIGUSR1           write the counters to the log
  SIGTERM           end; known flows go on in the kernel, as `outlive` allows
  SIGINT            end, and take back every change of this host

Examples:
  xlat run --config /etc/xlat/xlat.toml
  xlat run --config nat64.toml --log-level debug

A first configuration:
  [[instance]]
  name = \"default\"
  type = \"nat64\"
  pool4 = [\"203.0.113.2\"]
  [instance.global]
  pool6 = \"64:ff9b::/96\"";

const LOAD_EXAMPLES: &str = "\
The kernel verifies programs for those only who have CAP_PERFMON (or are root). This step, \
which takes all rights and ends at once, has that done, and keeps programs and maps in the BPF file system. \
An `xlat run` of the same version in the same network namespace then needs no more than \
CAP_NET_ADMIN and CAP_BPF; the service is started like that. Flows that the kernel knows go on. \
`xlat stop --flush` takes it away.

Examples:
  xlat load --config /etc/xlat/xlat.toml
  xlat load && setpriv --bounding-set=-all,+net_admin,+bpf xlat run";

const STATUS_EXAMPLES: &str = "\
Works with and without a daemon: what the kernel does is asked of the kernel.

Examples:
  xlat status
  xlat status --watch
  xlat status --json
  ip netns exec T xlat status";

const TOP_EXAMPLES: &str = "\
Keys: q quit, p hold still, s sort sources, ? help. The same on a web page: [web] in the configuration.

Examples:
  xlat top
  xlat top --once                      one frame as text
  xlat top --once --json               all of it for a program
  ip netns exec T xlat top";

const STOP_EXAMPLES: &str = "\
Without --flush known flows go on in the kernel for as long as `outlive` of [fast-path] allows, \
and the next `xlat run` takes them over. With it nothing of xlat is left on this host; on a \
terminal you are asked first, if something is translated.

Examples:
  xlat stop
  xlat stop --flush";

const CHECK_EXAMPLES: &str = "\
Ends with 0 if the configuration can be used, with 1 if not.

Examples:
  xlat check /etc/xlat/xlat.toml
  xlat check --no-host router.toml     a file for another host
  xlat check old.json                  one of Jool's own files
  xlat check --json router.toml        for a program
  xlat export | xlat check -           what another program says";

const EXPLAIN_EXAMPLES: &str = "\
Asks the daemon of this network namespace, which knows mappings and sessions; with --config, or where \
none runs, what a file says. The packet is shown as it comes to this host and as it leaves it.

Examples:
  xlat explain 2001:db8::8 64:ff9b::203.0.113.16
  xlat explain 2001:db8::8 64:ff9b::203.0.113.16 tcp 443
  xlat explain 2001:db8::8 64:ff9b::203.0.113.16 tcp 40000 443
  xlat explain --config siit.toml 192.0.2.16 198.51.100.8 icmp
  xlat explain --config nat64.toml --packet 6000000000083a40...";

const CAPTURE_EXAMPLES: &str = "\
Shows packets that the translator does not pass on, as they come, until Ctrl-C. The names of reasons are \
those of `xlat stats` and docs/drop-reasons.md. Without --reason: all that end here, but not what \
the host gets back or what only waits for its other fragments.

Examples:
  xlat capture
  xlat capture --within 2001:db8::8/128 --reason hop-limit-exceeded
  xlat capture --write drops.pcapng --count 100
  xlat capture --write - | wireshark -k -i -     comments say the reason";

const COMPLETIONS_EXAMPLES: &str = "\
The script asks the program itself, which asks the daemon for names and entries.

Examples:
  source <(xlat completions bash)
  xlat completions fish > ~/.config/fish/completions/xlat.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  xlat man | man -l -
  xlat man /usr/local/share/man/man1";

const DEMO_EXAMPLES: &str = "\
Needs no configuration and changes nothing of this host. Without root it works in a user namespace.

Examples:
  xlat demo                  stateful NAT64
  xlat demo siit             stateless, with explicit address mappings both ways
  xlat demo --keep           leave it running to look around
  xlat demo --bytes 100M     a shorter download
  xlat demo --json           an object for each step, the sum last";

/// Translates between IPv6 and IPv4: stateless (SIIT, RFC 7915) and stateful (NAT64, RFC 6146).
#[derive(Debug, Parser)]
#[command(name = "xlat", version, after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 110,
          infer_subcommands = true)]
pub(crate) struct Cli {
    /// Name of the instance, for the commands that have --instance
    #[arg(short, long, value_name = "NAME", add = ArgValueCompleter::new(complete::instances))]
    pub(crate) instance: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Translate: run in the foreground until told to end
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Make the kernel's part ready for a daemon that may not load programs itself
    #[command(after_help = LOAD_EXAMPLES)]
    Load(Load),
    /// Say what runs here: daemon, kernel programs, flows, and why packets went which way
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Status),
    /// Watch it at work: rates, sessions, sources, use of pool4, why packets are dropped
    #[command(after_help = TOP_EXAMPLES)]
    Top(Top),
    /// Show packets that are dropped, and why: as lines, or as pcapng for Wireshark
    #[command(after_help = CAPTURE_EXAMPLES)]
    Capture(Capture),
    /// End the daemon of this network namespace
    #[command(after_help = STOP_EXAMPLES)]
    Stop(Stop),
    /// Say what is wrong with a configuration file, and what this host offers
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Show step by step what would become of a packet, and why
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Play a scene on three hosts made for it, and report what worked
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    #[command(flatten)]
    Control(Control),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands to a folder
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The folder
        folder: Option<PathBuf>,
    },
    /// Print the OpenAPI document of what a daemon can be asked
    Openapi,
    /// The other side of the demo's exchanges
    #[command(hide = true)]
    DemoPeer {
        #[command(subcommand)]
        peer: Peer,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration: TOML, or one of Jool's JSON files
    #[arg(short, long, value_name = "FILE", default_value = CONFIG)]
    pub(crate) config: PathBuf,
    /// Begin without any instance instead of with the file: the API makes them
    #[arg(long, hide = true)]
    pub(crate) empty: bool,
    /// How much is logged: error, warn, info, debug, trace, or as in the environment variable RUST_LOG
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Where changes of this host are noted down until they are taken back [default: /run/xlat]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
    /// The BPF file system that keeps the kernel's part [default: /sys/fs/bpf, or one mounted at /run/xlat/bpf]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) bpffs: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The configuration that the daemon will have
    #[arg(short, long, value_name = "FILE", default_value = CONFIG)]
    pub(crate) config: PathBuf,
    /// As for `xlat run`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) bpffs: Option<PathBuf>,
    /// Print one JSON object; errors too
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which translator of this network namespace is meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The daemon's device
    #[arg(long, value_name = "NAME", default_value = "xlat0")]
    pub(crate) device: String,
    /// As for `xlat run`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
    /// As for `xlat run`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) bpffs: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Print one JSON object; with --watch one a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Say it again and again, every 2 seconds or as told, also when no daemon runs
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = notation::seconds)]
    pub(crate) watch: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Capture {
    /// The daemon's device
    #[arg(long, value_name = "NAME", default_value = "xlat0")]
    pub(crate) device: String,
    /// Write pcapng to this file, `-` for standard output, instead of lines
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) write: Option<PathBuf>,
    /// Print JSON, one object a line; errors too
    #[arg(long)]
    pub(crate) json: bool,
    /// Only packets with this reason; may be repeated
    #[arg(short, long = "reason", value_name = "NAME")]
    pub(crate) reasons: Vec<String>,
    /// Only what has an address in this prefix, on whichever side
    #[arg(long, value_name = "PREFIX")]
    pub(crate) within: Option<IpNet>,
    /// End after so many packets
    #[arg(short, long, value_name = "NUMBER", value_parser = value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u64).range(1..))]
    pub(crate) seconds: Option<u64>,
    /// Keep so many bytes of each packet
    #[arg(short, long, value_name = "BYTES", default_value_t = xlat_control::capture::SNAP_LENGTH)]
    pub(crate) snap_length: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The daemon's device
    #[arg(long, value_name = "NAME", default_value = "xlat0")]
    pub(crate) device: String,
    /// Print one frame as text, as is done where there is no terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// Print JSON, one object a second; errors too
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) which: Which,
    /// End known flows too, and take back every change of this host; also when no daemon runs
    #[arg(long)]
    pub(crate) flush: bool,
    /// Do not ask, on a terminal, before --flush ends what carries traffic
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration; - for standard input
    pub(crate) file: PathBuf,
    /// Leave out what depends on the host this runs on
    #[arg(long)]
    pub(crate) no_host: bool,
    /// Print JSON: an object for each finding, one line each, the verdict last
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) to: common::To,
    /// What a configuration file says, instead of the daemon
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Its firewall mark
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) mark: u32,
    /// A packet from its IP header on, in hexadecimal digits; blanks and colons between them do not matter
    #[arg(long, value_name = "HEX", conflicts_with_all = ["source", "destination", "protocol"])]
    pub(crate) packet: Option<String>,
    /// Source address
    #[arg(required_unless_present = "packet")]
    pub(crate) source: Option<IpAddr>,
    /// Destination address
    #[arg(required_unless_present = "packet")]
    pub(crate) destination: Option<IpAddr>,
    /// What the packet carries
    #[arg(value_enum, default_value_t = Protocol::Icmp)]
    pub(crate) protocol: Protocol,
    /// Destination port, or both: source first; the identifier of an ICMP echo [default: 40000 80]
    #[arg(num_args = 0..=2)]
    pub(crate) ports: Vec<u16>,
}

/// The shells that have completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
}

/// What a described packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// A TCP SYN
    Tcp,
    /// A UDP datagram
    Udp,
    /// An ICMP echo request
    Icmp,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Which scene
    #[arg(value_enum, default_value_t = Scene::Nat64)]
    pub(crate) scene: Scene,
    /// Leave everything running at the end, and say how to look around
    #[arg(long)]
    pub(crate) keep: bool,
    /// Size of the download; k, M and G are powers of 1000
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size)]
    pub(crate) bytes: u64,
    /// Print JSON, one object a line; errors too
    #[arg(long)]
    pub(crate) json: bool,
    /// Set by the demo when it has made a user namespace for itself
    #[arg(long, hide = true)]
    pub(crate) in_user_namespace: bool,
}

/// A scene of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    /// Stateful: IPv6 clients share one IPv4 address
    Nat64,
    /// Stateless: explicit address mappings, connections both ways
    Siit,
}

/// What runs in the demo's other namespaces.
#[derive(Debug, Subcommand)]
pub(crate) enum Peer {
    /// HTTP server and UDP echo
    Serve {
        /// Port of both
        port: u16,
    },
    /// UDP client of the echo
    Exchange {
        /// The server
        address: IpAddr,
        /// Its port
        port: u16,
        /// How many datagrams
        #[arg(value_parser = value_parser!(u16).range(1..))]
        count: u16,
    },
}

/// A number of bytes such as 50M, at most 1000 G.
fn size(text: &str) -> Result<u64, String> {
    const MOST: u64 = 1_000_000_000_000;
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        Some(_) | None => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    number
        .filter(|bytes| (1..=MOST).contains(bytes))
        .ok_or_else(|| "a size is a number with or without k, M or G behind it, from 1 to 1000G".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Prose is wrapped where the terminal ends, so it is one line here; examples are not, so they are short.
    #[test]
    fn help_fits_a_terminal() {
        fn look(command: &clap::Command) {
            let name = command.get_name();
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
            for pair in lines.windows(2) {
                assert!(!(is_prose(pair[0]) && is_prose(pair[1])), "{name}: cut after: {}", pair[0]);
            }
            let long: Vec<&str> =
                lines.into_iter().filter(|line| line.starts_with(' ') && line.chars().count() > 80).collect();
            assert!(long.is_empty(), "{name}: long: {long:#?}");
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
    }

    /// The commands that do something, each with all its words.
    fn leaves() -> Vec<(String, clap::Command)> {
        fn walk(command: &clap::Command, above: &str, found: &mut Vec<(String, clap::Command)>) {
            let words = format!("{above} {}", command.get_name()).trim().to_owned();
            if !command.is_subcommand_required_set() {
                found.push((words.clone(), command.clone()));
            }
            let visible = command.get_subcommands().filter(|below| !below.is_hide_set());
            visible.for_each(|below| walk(below, &words, found));
        }
        let mut found = Vec::new();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            walk(command, "", &mut found);
        }
        assert!(found.len() > 50, "{found:?}");
        found
    }

    fn lacking(option: &str, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let lacks = |command: &clap::Command| {
            command.get_arguments().all(|one| one.get_long() != Some(option) || one.is_hide_set())
        };
        let meant = leaves().into_iter().filter(|(words, command)| is_meant(words) && lacks(command));
        meant.map(|(words, _)| words).collect()
    }

    #[test]
    fn all_commands_speak_json() {
        // A daemon logs, the next two print files of fixed form, and the last is JSON in any case.
        let others = ["run", "completions", "man", "openapi"];
        assert_eq!(lacking("json", |_| true), others);
    }

    #[test]
    fn all_displays_can_be_watched() {
        let modes = ["instance", "global", "pool4", "bib", "session", "eamt", "denylist4", "stats", "status"];
        let is_display = |words: &str| modes.contains(&words) || words.ends_with(" display");
        assert_eq!(lacking("watch", is_display), Vec::<String>::new());
        assert_eq!(leaves().iter().filter(|(words, _)| is_display(words)).count(), 17);
    }

    #[test]
    fn sizes() {
        assert_eq!(size("1"), Ok(1));
        assert_eq!(size("50M"), Ok(50_000_000));
        assert_eq!(size("1000G"), Ok(1_000_000_000_000));
        for wrong in
            ["", "0", "M", "-1", "1001G", "1T", "99999999999999999999", "18446744073709551615G", "1ß"]
        {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
