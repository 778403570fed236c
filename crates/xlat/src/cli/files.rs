//! Commands about configurations: import, export, diff, reload; and the stream of events.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};
use ipnet::IpNet;

use super::common::To;
use super::notation;

pub(crate) const IMPORT_EXAMPLES: &str = "\
Examples:
  xlat import jool /etc/jool/jool.conf
  xlat import jool nat64.json siit.json --output /etc/xlat/xlat.toml";

pub(crate) const EXPORT_EXAMPLES: &str = "\
Examples:
  xlat export > /etc/xlat/xlat.toml     keep what was changed by commands
  xlat export --json";

pub(crate) const DIFF_EXAMPLES: &str = "\
Ends with 0 if nothing would change, with 1 if something would, with 2 on errors.

Examples:
  xlat diff /etc/xlat/xlat.toml
  xlat diff --json new.toml";

pub(crate) const RELOAD_EXAMPLES: &str = "\
A file with errors changes nothing. Changes that commands made since are lost: see what goes with xlat diff.

Examples:
  xlat reload";

pub(crate) const EVENTS_EXAMPLES: &str = "\
BIB entries and sessions are told of while somebody listens, whether they are logged or not.

Examples:
  xlat events
  xlat events --within 2001:db8::/64 --json";

#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(crate) struct Import {
    #[command(subcommand)]
    pub(crate) from: From,
}

#[derive(Debug, Subcommand)]
pub(crate) enum From {
    /// Turn Jool's JSON files into one of ours
    #[command(after_help = IMPORT_EXAMPLES)]
    Jool(ImportJool),
}

#[derive(Debug, Args)]
pub(crate) struct ImportJool {
    /// Jool's files, one instance each
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the instance, where the file has none
    #[arg(short, long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// The files are jool_siit's, where that is not clear
    #[arg(long, conflicts_with = "nat64")]
    pub(crate) siit: bool,
    /// The files are jool's, where that is not clear
    #[arg(long)]
    pub(crate) nat64: bool,
    /// Write to this file, which must not exist, or have nothing but comments [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print the configuration as JSON, warnings and errors as objects, too
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) to: To,
    /// Write to this file, which must not exist, or have nothing but comments [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) to: To,
    /// The configuration that would be read
    #[arg(default_value = super::CONFIG)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) to: To,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) to: To,
    /// Only this kind of event, such as session-created; may be repeated
    #[arg(short, long, value_name = "KIND", value_delimiter = ',')]
    pub(crate) kind: Vec<String>,
    /// Only what has an address in this prefix, on whichever side
    #[arg(long, value_name = "PREFIX", value_parser = notation::network)]
    pub(crate) within: Option<IpNet>,
}

const FILE_EXAMPLES: &str = "\
The file is one of Jool's JSON files, or TOML with one instance. For all instances at once: xlat reload.

Examples:
  xlat file handle /etc/jool/jool.conf
  xlat file check office.toml";

#[derive(Debug, Args)]
#[command(after_help = FILE_EXAMPLES)]
pub(crate) struct File {
    #[command(subcommand)]
    pub(crate) operation: FileOperation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FileOperation {
    /// Make an instance as a file says, or put the file in its place; starts a daemon where none runs
    #[command(after_help = FILE_EXAMPLES)]
    Handle(FileHandle),
    /// Say what is wrong with a file, without any daemon
    #[command(after_help = FILE_EXAMPLES)]
    Check(FileCheck),
}

#[derive(Debug, Args)]
pub(crate) struct FileHandle {
    #[command(flatten)]
    pub(crate) to: To,
    /// The file
    #[arg(value_parser = value_parser!(PathBuf))]
    pub(crate) file: PathBuf,
    /// Skip the checks that only warn
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FileCheck {
    #[command(flatten)]
    pub(crate) to: To,
    /// The file
    pub(crate) file: PathBuf,
}
