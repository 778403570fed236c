//! `xlat check`: what is wrong with a configuration, and what this host offers.

use std::fmt::Write as _;
use std::process::ExitCode;

use xlat_config::{Config, Hint, load_file};
use xlat_linux::netlink::watch;
use xlat_linux::probe::{self, Probe};

use crate::cli::Check;
use crate::commands::output::print;
use crate::failure::{Failure, Outcome};
use crate::host;

/// Prints every finding; fails if one is an error.
pub(crate) fn check(arguments: &Check) -> Outcome<ExitCode> {
    let mut text = String::new();
    let mut good = true;
    match load_file(&arguments.file, &Hint::default()) {
        Err(diagnostics) => {
            good = false;
            writeln!(text, "{diagnostics}")?;
        }
        Ok(loaded) => {
            if !loaded.warnings.list.is_empty() {
                writeln!(text, "{}", loaded.warnings)?;
            }
            if !arguments.no_host {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let addresses = runtime
                    .block_on(watch::snapshot())
                    .map_err(|error| Failure::doing("cannot read this host's addresses", &error))?;
                let no_sharing = probe::fast_path().usable().err();
                let found = host::check(&loaded, &addresses, no_sharing.as_deref());
                good = !host::has_errors(&found);
                for diagnostic in found {
                    writeln!(text, "{diagnostic}")?;
                }
            }
            let verdict = if good { "can be used" } else { "cannot be used on this host" };
            writeln!(text, "{}: {verdict}: {}", arguments.file.display(), contents(&loaded.config))?;
        }
    }
    if !arguments.no_host {
        let probe = Probe::run();
        writeln!(text, "\nThis host:")?;
        for (name, value) in probe.rows() {
            writeln!(text, "  {name:<16} {value}")?;
        }
        if !probe.is_sufficient() {
            writeln!(text, "xlat cannot run here as this user.")?;
        }
    }
    print(&text)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
