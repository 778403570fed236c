//! Configurations from and into files: import, export, diff, reload, check.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use xlat_config::{Config, Hint, Translator, load, load_file, to_toml};
use xlat_control::api::{Difference, Done};

use super::output::print;
use super::paint;
use super::progress::{Clock, waiting};
use super::remote::{Remote, named_kind};
use super::trouble::Trouble;
use crate::check::object;
use crate::cli::common::To;
use crate::cli::files::{Diff, Export, FileCheck, ImportJool};
use crate::failure::Failure;

/// Ends `diff` where something differs, and where it cannot tell.
const DIFFERENT: u8 = 1;
const NO_ANSWER: u8 = 2;

/// Jool's files into one of ours.
pub(crate) fn import(import: &ImportJool) -> Result<(), Trouble> {
    let kind = match (import.siit, import.nat64) {
        (true, _) => Some(Translator::Siit),
        (_, true) => Some(Translator::Nat64),
        (false, false) => None,
    };
    let hint = Hint { name: import.instance.clone(), kind, json: false };
    let mut config = Config::default();
    let mut names = Vec::new();
    let clock = Clock::start("the files are read");
    for file in &import.files {
        let loaded = load_file(file, &hint)
            .map_err(|found| Trouble::refused(format!("the file has errors\n{found}")))?;
        if !loaded.warnings.list.is_empty() {
            let name = file.display().to_string();
            let said = match import.json {
                true => loaded.warnings.list.iter().map(|one| format!("{}\n", object(&name, one))).collect(),
                false => format!("{}\n", loaded.warnings),
            };
            // Without a standard error there is nobody to tell.
            let _ = write!(io::stderr(), "{said}");
        }
        names.push(file.display().to_string());
        config.instances.extend(loaded.config.instances);
    }
    let text = format!("# From {}\n\n{}", names.join(", ").replace(['\n', '\r'], " "), to_toml(&config));
    // Names that meet, pools that overlap: found before the file is used.
    load("the result", &text, &Hint::default())
        .map_err(|found| Trouble::refused(format!("the files do not go together\n{found}")))?;
    let text = if import.json { as_json(&text)? } else { text };
    drop(clock);
    write(import.output.as_deref(), &text)
}

/// The configuration in force, as a file.
async fn running(remote: &Remote) -> Result<String, Trouble> {
    remote.text("/v1/configuration").await
}

pub(crate) async fn export(export: &Export) -> Result<(), Trouble> {
    let remote = Remote::new(&export.to);
    let clock = Clock::start("the configuration in force is read");
    let text = running(&remote).await?;
    let (name, kind) = (export.to.instance.as_ref(), named_kind(&export.to));
    let text = match (name, kind) {
        (None, None) => text,
        (name, kind) => {
            let mut config = read("the running configuration", &text)?;
            config.instances.retain(|instance| {
                name.is_none_or(|name| instance.name == *name)
                    && kind.is_none_or(|kind| kind == instance.kind.translator().into())
            });
            if config.instances.is_empty() {
                return Err(Trouble::refused("there is no such instance"));
            }
            to_toml(&config)
        }
    };
    let text = match export.to.json {
        false => text,
        true => as_json(&text)?,
    };
    drop(clock);
    write(export.output.as_deref(), &text)
}

/// A configuration for programs.
fn as_json(text: &str) -> Result<String, Trouble> {
    let value: serde_json::Value = toml::from_str(text).map_err(Failure::from)?;
    Ok(format!("{value}\n"))
}

fn read(name: &str, text: &str) -> Result<Config, Trouble> {
    // A daemon that is told what to do by commands begins with nothing, which no file may be.
    if text.trim().is_empty() {
        return Ok(Config::default());
    }
    let loaded = load(name, text, &Hint::default())
        .map_err(|found| Trouble::refused(format!("{name} cannot be read\n{found}")))?;
    Ok(loaded.config)
}

/// Says what a reload would change; the exit code is that of diff(1).
pub(crate) async fn diff(diff: &Diff) -> ExitCode {
    match differences(diff).await {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(DIFFERENT),
        Err(trouble) => {
            trouble.tell(diff.to.json);
            ExitCode::from(NO_ANSWER)
        }
    }
}

async fn differences(diff: &Diff) -> Result<bool, Trouble> {
    let clock = Clock::start("the file is compared with what is in force");
    // What is wrong with the file is said better here, with its lines.
    load_file(&diff.file, &Hint::default())
        .map_err(|found| Trouble::refused(format!("the file has errors\n{found}")))?;
    let text = fs::read_to_string(&diff.file)
        .map_err(|error| Failure::doing(format!("cannot read {}", diff.file.display()), &error))?;
    let mut rows = Remote::new(&diff.to).put("/v1/configuration?dry-run=true", text).await?;
    drop(clock);
    let mut differs = false;
    while let Some(one) = rows.next::<Difference>().await? {
        differs = true;
        print(&match diff.to.json {
            true => format!("{}\n", serde_json::to_string(&one).map_err(Failure::from)?),
            false => painted(one),
        })?;
    }
    Ok(differs)
}

fn painted(one: Difference) -> String {
    let style = match (&one.old, &one.new) {
        (None, _) => paint::GREEN,
        (_, None) => paint::RED,
        (Some(_), Some(_)) => paint::YELLOW,
    };
    let style = style.when(paint::stdout());
    let Difference { instance, what, old, new, takes_restart } = one;
    let shown = xlat_config::Difference { instance, what, old, new, takes_restart };
    format!("{style}{shown}{style:#}\n")
}

/// Lets the daemon read its file again; it answers when that is in force.
pub(crate) async fn reload(to: &To) -> Result<(), Trouble> {
    let remote = Remote::new(to);
    let _done: Done = waiting("the daemon is at it", remote.reload()).await?;
    Ok(if to.json { print(&format!("{}\n", json!({ "reloaded": true }))) } else { Ok(()) }?)
}

/// `file check`.
pub(crate) fn check(check: &FileCheck) -> Result<ExitCode, Trouble> {
    let kind = named_kind(&check.to).map(|translator| match translator {
        xlat_control::api::Translator::Siit => Translator::Siit,
        xlat_control::api::Translator::Nat64 => Translator::Nat64,
    });
    let hint = Hint { name: check.to.instance.clone(), kind, json: false };
    let name = check.file.display().to_string();
    match load_file(&check.file, &hint) {
        Ok(loaded) => {
            if !loaded.warnings.list.is_empty() {
                print(&match check.to.json {
                    true => {
                        loaded.warnings.list.iter().map(|one| format!("{}\n", object(&name, one))).collect()
                    }
                    false => format!("{}\n", loaded.warnings),
                })?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(found) => Err(Trouble::refused(format!("the file has errors\n{found}"))),
    }
}

/// Writes to a file that is not there yet, or to standard output.
fn write(path: Option<&Path>, text: &str) -> Result<(), Trouble> {
    let Some(path) = path else { return Ok(print(text)?) };
    let written = match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !says_nothing(path) {
                return Err(Trouble::refused(format!("{} exists and is not empty", path.display()))
                    .help("write to another file and compare them"));
            }
            fs::write(path, text)
        }
        created => created.and_then(|mut file| file.write_all(text.as_bytes())),
    };
    written.map_err(|error| Failure::doing(format!("cannot write {}", path.display()), &error).into())
}

/// Whether a file has nothing but comments, as the one that the package brings.
fn says_nothing(path: &Path) -> bool {
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    let table = is_file.then(|| fs::read_to_string(path).ok()?.parse::<toml::Table>().ok()).flatten();
    table.is_some_and(|table| table.is_empty())
}
