//! Configuration files to a checked, typed configuration: our own TOML and Jool's JSON, told apart by content.
//! Every error comes with its place in the file and with what to do about it.
//!
//! ```
//! let text = r#"
//! [[instance]]
//! name = "default"
//! type = "nat64"
//! pool4 = ["203.0.113.2"]
//! [instance.global]
//! pool6 = "64:ff9b::/96"
//! "#;
//! let loaded = xlat_config::load("xlat.toml", text, &xlat_config::Hint::default()).unwrap();
//! assert_eq!(loaded.config.instances[0].name, "default");
//! ```

#![forbid(unsafe_code)]

mod check;
mod diagnostic;
mod diff;
mod field;
mod host;
mod json;
mod keys;
mod lists;
mod model;
mod node;
mod options;
mod read;
mod reference;
mod source;
mod toml;
mod validate;
mod value;
mod write;

use std::io::Read;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

pub use diagnostic::{Diagnostic, Diagnostics, List, Location, Place, Severity};
pub use diff::{Difference, diff};
pub use host::{HostFacts, check_host};
pub use model::{
    BibEntry, Config, Device, EamEntry, EamHairpinMode, FastPath, Global, Ingress, Instance, Kind, Limits,
    Log, LogFormat, LogTo, MaxIterations, Nat64, Nat64Global, Output, Pool4Entry, Protocol, Siit, SiitGlobal,
    Translator, Web, Xdp,
};
pub use reference::reference;
pub use source::Source;
pub use validate::validate;
pub use write::to_toml;

/// What single words mean: addresses, prefixes, ports and durations as the files have them.
pub mod notation {
    pub use crate::value::{
        Problem, duration, ports, prefix, prefix4, prefix6, show_duration, transport4, transport6,
    };
}

use keys::Dialect;
use node::{Span, SyntaxError};
use read::Reader;

/// Longest file, in bytes.
pub const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What the caller knows about one of Jool's files; TOML files say it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// The instance's name (`-i NAME`). Where the file has one too they must be equal.
    pub name: Option<String>,
    /// The kind of translator; wins over what the keys suggest.
    pub kind: Option<Translator>,
    /// Nothing but Jool's JSON will do, as for Jool's own commands; else what does not begin with `{` is TOML.
    pub json: bool,
}

/// A configuration that was read and checked.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works though perhaps not as meant.
    pub warnings: Diagnostics,
    /// Gives later findings about the configuration, such as those of [`check_host`], their line and column.
    pub source: Source,
}

/// Reads and checks the content of a configuration file; `file` is its name for the messages.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included. Checks that compare entries with each other are made only when
/// every single value is right.
pub fn load(file: &str, content: impl AsRef<[u8]>, hint: &Hint) -> Result<Loaded, Diagnostics> {
    let content = content.as_ref();
    if content.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, the most is {FILE_BYTES_MAX}", content.len());
        return Err(refused(file, message, "split it, or write EAM entries as \"PREFIX4 PREFIX6\""));
    }
    let (text, invalid) = match str::from_utf8(content) {
        Ok(text) => (text.strip_prefix('\u{feff}').unwrap_or(text), None),
        Err(error) => {
            let valid = content.get(..error.valid_up_to()).unwrap_or_default();
            (str::from_utf8(valid).unwrap_or_default(), Some(error.valid_up_to()))
        }
    };
    let dialect = match hint.json || text.trim_start().starts_with('{') {
        true => Dialect::Jool,
        false => Dialect::Native,
    };
    let mut reader = Reader::new(file, text, dialect, hint);
    if let Some(at) = invalid {
        let (span, help) = (Span::new(at, at), "save the file as UTF-8");
        let message = "the file is not UTF-8 text from here on".to_owned();
        reader.syntax_error(SyntaxError { span, message, help: help.to_owned() });
        return Err(reader.finish().2);
    }
    let root = match dialect {
        Dialect::Jool => json::parse(text).map_err(|error| vec![error]),
        Dialect::Native => toml::parse(text),
    };
    match root {
        Ok(root) => reader.root(&root),
        Err(errors) => errors.into_iter().for_each(|error| reader.syntax_error(error)),
    }
    let (config, places, mut diagnostics) = reader.finish();
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let source = Source { file: file.to_owned(), text: text.to_owned(), places };
    let found = validate(&config);
    diagnostics.omitted = found.omitted;
    diagnostics.list = found.list.into_iter().map(|diagnostic| source.locate(diagnostic)).collect();
    diagnostics.list.sort_by_key(|one| one.location.as_ref().map_or(0, |at| at.span.start));
    // One element can stand for three entries, one per protocol, with the same to say about each.
    diagnostics.list.dedup_by(|one, before| one.location == before.location && one.help == before.help);
    if diagnostics.has_errors() {
        Err(diagnostics)
    } else {
        Ok(Loaded { config, warnings: diagnostics, source })
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
///
/// As [`load`]; also when the file cannot be read.
pub fn load_file(path: &Path, hint: &Hint) -> Result<Loaded, Diagnostics> {
    let file = path.display().to_string();
    // Opening a pipe would wait for a writer.
    let opened = std::fs::metadata(path).and_then(|found| match found.file_type().is_fifo() {
        true => Err(std::io::Error::other("it is a named pipe")),
        false => std::fs::File::open(path),
    });
    match opened {
        Ok(opened) => load_reader(&file, opened, hint),
        Err(error) => Err(unreadable(&file, &error)),
    }
}

/// Reads and checks a configuration that comes to its end, of at most [`FILE_BYTES_MAX`]; `file` is its name for the messages.
///
/// # Errors
///
/// As [`load`]; also when it cannot be read.
pub fn load_reader(file: &str, reader: impl Read, hint: &Hint) -> Result<Loaded, Diagnostics> {
    let mut content = Vec::new();
    match reader.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content) {
        Ok(_) => load(file, content, hint),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn unreadable(file: &str, error: &std::io::Error) -> Diagnostics {
    refused(file, format!("cannot read the file: {error}"), "check its name and permissions")
}

/// An error about a file as a whole.
fn refused(file: &str, message: String, help: &str) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(Diagnostic::error(Place::File, format!("{file}: {message}"), help));
    diagnostics
}
