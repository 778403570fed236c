//! `xlat check`: what is wrong with a configuration, and what this host offers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::stdin;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use xlat_config::{Config, Diagnostic, Diagnostics, Hint, Loaded, Severity, load_file, load_reader};
use xlat_control::api;
use xlat_linux::netlink::watch;
use xlat_linux::probe::{self, Probe};

use crate::cli::Check;
use crate::commands::output::print;
use crate::commands::progress::Clock;
use crate::commands::trouble::Trouble;
use crate::failure::{Failure, Outcome};
use crate::host;

/// The name of `-` in messages.
const STANDARD_INPUT: &str = "standard input";

/// What there is to say.
#[derive(Default)]
struct Findings {
    found: Vec<Diagnostic>,
    /// How many more there were.
    omitted: usize,
    /// `None` where it cannot be read.
    config: Option<Config>,
    /// `None` where it was not asked for.
    host: Option<Probe>,
}

impl Findings {
    fn good(&self) -> bool {
        self.config.is_some() && !host::has_errors(&self.found)
    }
}

/// Prints every finding; fails if one is an error.
pub(crate) fn check(arguments: &Check) -> Outcome<ExitCode> {
    let clock = Clock::start("the file is read and this host looked at");
    let found = find(arguments);
    drop(clock);
    let findings = match found {
        Err(failure) if arguments.json => return Ok(Trouble::from(failure).tell(true)),
        found => found?,
    };
    let file = match arguments.file.as_path() {
        input if input == Path::new("-") => STANDARD_INPUT.to_owned(),
        file => file.display().to_string(),
    };
    print(&if arguments.json { objects(&file, &findings)? } else { text(&file, &findings)? })?;
    Ok(if findings.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find(arguments: &Check) -> Outcome<Findings> {
    let mut findings = Findings::default();
    match load(&arguments.file) {
        Err(Diagnostics { list, omitted }) => (findings.found, findings.omitted) = (list, omitted),
        Ok(loaded) => {
            if !arguments.no_host {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let addresses = runtime
                    .block_on(watch::snapshot())
                    .map_err(|error| Failure::doing("cannot read this host's addresses", &error))?;
                let no_sharing = probe::fast_path().usable().err();
                findings.found = host::check(&loaded, &addresses, no_sharing.as_deref());
            }
            let Loaded { config, warnings, .. } = loaded;
            findings.found.splice(..0, warnings.list);
            findings.omitted = warnings.omitted;
            findings.config = Some(config);
        }
    }
    if !arguments.no_host {
        findings.host = Some(Probe::run());
    }
    Ok(findings)
}

/// The configuration of a file, of standard input (`-`) or of a pipe that the shell has opened (`<(...)`).
fn load(file: &Path) -> Result<Loaded, Diagnostics> {
    let (name, hint) = (file.display().to_string(), Hint::default());
    match file {
        _ if file == Path::new("-") => load_reader(STANDARD_INPUT, stdin().lock(), &hint),
        // It has a writer already, so opening it does not wait.
        _ if file.starts_with("/dev/fd") || file.starts_with("/proc/self/fd") => match File::open(file) {
            Ok(opened) => load_reader(&name, opened, &hint),
            Err(_) => load_file(file, &hint),
        },
        _ => load_file(file, &hint),
    }
}

/// For a person.
fn text(file: &str, findings: &Findings) -> Outcome<String> {
    let mut text = String::new();
    for one in &findings.found {
        writeln!(text, "{one}")?;
    }
    if findings.omitted > 0 {
        writeln!(text, "and {} more", findings.omitted)?;
    }
    if let Some(config) = &findings.config {
        let verdict = if findings.good() { "can be used" } else { "cannot be used on this host" };
        writeln!(text, "{file}: {verdict}: {}", contents(config))?;
    }
    if let Some(host) = &findings.host {
        writeln!(text, "\nThis host:")?;
        for (name, value) in host.rows() {
            writeln!(text, "  {name:<16} {value}")?;
        }
        if !host.is_sufficient() {
            writeln!(text, "xlat cannot run here as this user.")?;
        }
    }
    Ok(text)
}

/// For a program.
fn objects(file: &str, findings: &Findings) -> Outcome<String> {
    let mut lines = String::new();
    for one in &findings.found {
        writeln!(lines, "{}", object(file, one))?;
    }
    let instances = findings.config.iter().flat_map(|config| &config.instances);
    let instances: Vec<_> = instances
        .map(|one| json!({ "name": one.name, "translator": api::Translator::from(one.kind.translator()) }))
        .collect();
    let host = findings.host.as_ref().map(|host| host.rows().into_iter().collect::<BTreeMap<_, _>>());
    let verdict = json!({
        "file": file, "usable": findings.good(), "instances": instances, "omitted": findings.omitted, "host": host,
    });
    writeln!(lines, "{verdict}")?;
    Ok(lines)
}

/// What was found in a file.
pub(crate) fn object(file: &str, found: &Diagnostic) -> Value {
    let Diagnostic { severity, message, help, location, .. } = found;
    let severity = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let (line, column) = location.as_ref().map(|at| (at.line, at.column)).unzip();
    json!({ "severity": severity, "file": file, "line": line, "column": column, "what": message, "help": help })
}

/// The configuration in one line.
fn contents(config: &Config) -> String {
    let instances: Vec<String> = config
        .instances
        .iter()
        .map(|instance| format!("{} ({})", instance.name, instance.kind.translator()))
        .collect();
    match instances.as_slice() {
        [] => "no instance, so nothing will be translated".to_owned(),
        [one] => format!("instance {one}"),
        several => format!("instances {}", several.join(", ")),
    }
}
