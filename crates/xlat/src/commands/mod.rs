//! The commands in front of a running daemon under its own name: what Jool's can, with JSON, watching, colours, questions
//! before traffic ends, and files.

mod change;
pub(crate) mod complete;
pub(crate) mod confirm;
mod display;
mod events;
mod files;
pub(crate) mod output;
pub(crate) mod paint;
pub(crate) mod progress;
mod quick;
pub(crate) mod remote;
mod rows;
mod session;
pub(crate) mod trouble;

use std::process::ExitCode;

use xlat_control::api::{Change, Translator};

use crate::cli::common::To;
use crate::cli::files::{Diff, Events, Export, FileOperation, Import, Reload};
use crate::cli::tables::{
    AddressOperation, BibOperation, Denylist4Operation, EamtOperation, GlobalOperation, InstanceOperation,
    Pool4Operation, SessionOperation, StatsOperation,
};
use crate::cli::{Control, files::From as Source};
use crate::failure::{Failure, Outcome};
use display::{View, display};
use trouble::Trouble;

/// Runs one of the commands that speak with a daemon. `instance` is the name given before the mode.
pub(crate) fn run(instance: Option<String>, mut command: Control) -> Outcome<ExitCode> {
    if let Some(name) = instance {
        match to(&mut command) {
            Some(To { instance: Some(other), .. }) if *other != name => {
                return Err(Failure::new(format!("is it \"{name}\" or \"{other}\"? There are two names")));
            }
            Some(to) => to.instance = Some(name),
            None => return Err(Failure::new("--instance goes behind this command")),
        }
    }
    let json = match &command {
        Control::Import(Import { from: Source::Jool(import) }) => import.json,
        _one_that_asks_a_daemon => to(&mut command).is_some_and(|to| to.json),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let foreground = match &command {
        Control::Nat64(quick) if quick.running.foreground => Some(runtime.block_on(quick::nat64(quick))),
        Control::Siit(quick) if quick.running.foreground => Some(quick::siit(quick)),
        _in_the_daemon => None,
    };
    let done = match (foreground, to(&mut command)) {
        (Some(Ok(config)), Some(to)) => return quick::foreground(to, config),
        (Some(Err(trouble)), _) => Err(trouble),
        (_, _) => runtime.block_on(execute(command)),
    };
    // What still waits for a silent daemon is not waited for.
    runtime.shutdown_background();
    Ok(done.unwrap_or_else(|trouble| trouble.tell(json)))
}

/// Where a command goes.
fn to(command: &mut Control) -> Option<&mut To> {
    Some(match command {
        Control::Instance(mode) => match &mut mode.operation {
            None => &mut mode.show.to,
            Some(InstanceOperation::Display(show)) => &mut show.to,
            Some(InstanceOperation::Add(add)) => &mut add.to,
            Some(InstanceOperation::Remove(remove)) => &mut remove.ending.to,
            Some(InstanceOperation::Flush(ending)) => &mut ending.to,
            Some(InstanceOperation::Status(to)) => to,
        },
        Control::Global(mode) => match &mut mode.operation {
            None => &mut mode.show.to,
            Some(GlobalOperation::Display(show)) => &mut show.to,
            Some(GlobalOperation::Update(update)) => &mut update.to,
        },
        Control::Pool4(mode) => match &mut mode.operation {
            None => &mut mode.display.show.to,
            Some(Pool4Operation::Display(display)) => &mut display.show.to,
            Some(Pool4Operation::Add(add)) => &mut add.to,
            Some(Pool4Operation::Remove(remove)) => &mut remove.ending.to,
            Some(Pool4Operation::Flush(ending)) => &mut ending.to,
        },
        Control::Bib(mode) => match &mut mode.operation {
            None => &mut mode.display.state.show.to,
            Some(BibOperation::Display(display)) => &mut display.state.show.to,
            Some(BibOperation::Add(add)) => &mut add.to,
            Some(BibOperation::Remove(remove)) => &mut remove.ending.to,
        },
        Control::Session(mode) => match &mut mode.operation {
            None => &mut mode.display.table.show.to,
            Some(SessionOperation::Display(display)) => &mut display.table.show.to,
            Some(SessionOperation::Follow(to) | SessionOperation::Advertise(to)) => to,
            Some(SessionOperation::Proxy(proxy)) => &mut proxy.to,
        },
        Control::Eamt(mode) => match &mut mode.operation {
            None => &mut mode.display.show.to,
            Some(EamtOperation::Display(display)) => &mut display.show.to,
            Some(EamtOperation::Add(add)) => &mut add.to,
            Some(EamtOperation::Remove(remove)) => &mut remove.to,
            Some(EamtOperation::Flush(ending)) => &mut ending.to,
        },
        Control::Denylist4(mode) => match &mut mode.operation {
            None => &mut mode.display.show.to,
            Some(Denylist4Operation::Display(display)) => &mut display.show.to,
            Some(Denylist4Operation::Add(add)) => &mut add.to,
            Some(Denylist4Operation::Remove(remove)) => &mut remove.to,
            Some(Denylist4Operation::Flush(ending)) => &mut ending.to,
        },
        Control::Stats(mode) => match &mut mode.operation {
            None => &mut mode.display.show.to,
            Some(StatsOperation::Display(display)) => &mut display.show.to,
        },
        Control::Address(mode) => match &mut mode.operation {
            AddressOperation::Query(query) => &mut query.to,
        },
        Control::File(mode) => match &mut mode.operation {
            FileOperation::Handle(handle) => &mut handle.to,
            FileOperation::Check(check) => &mut check.to,
        },
        Control::Nat64(quick) => &mut quick.running.to,
        Control::Siit(quick) => &mut quick.running.to,
        Control::Export(Export { to, .. })
        | Control::Diff(Diff { to, .. })
        | Control::Reload(Reload { to })
        | Control::Events(Events { to, .. }) => to,
        Control::Import(_) => return None,
    })
}

async fn execute(command: Control) -> Result<ExitCode, Trouble> {
    match command {
        Control::Instance(mode) => match mode.operation {
            None => display(View::Instances(mode.show)).await?,
            Some(InstanceOperation::Display(show)) => display(View::Instances(show)).await?,
            Some(InstanceOperation::Add(add)) => change::instance_add(&add).await?,
            Some(InstanceOperation::Remove(remove)) => change::instance_remove(&remove).await?,
            Some(InstanceOperation::Flush(ending)) => change::instance_flush(&ending).await?,
            Some(InstanceOperation::Status(to)) => {
                let code =
                    if change::instance_status(&to).await? { ExitCode::SUCCESS } else { ExitCode::FAILURE };
                return Ok(code);
            }
        },
        Control::Global(mode) => match mode.operation {
            None => display(View::Global(mode.show)).await?,
            Some(GlobalOperation::Display(show)) => display(View::Global(show)).await?,
            Some(GlobalOperation::Update(update)) => change::global_update(&update).await?,
        },
        Control::Pool4(mode) => match mode.operation {
            None => display(View::Pool4(mode.display)).await?,
            Some(Pool4Operation::Display(show)) => display(View::Pool4(show)).await?,
            Some(Pool4Operation::Add(add)) => change::pool4_add(&add).await?,
            Some(Pool4Operation::Remove(remove)) => change::pool4_remove(&remove).await?,
            Some(Pool4Operation::Flush(ending)) => change::pool4_flush(&ending).await?,
        },
        Control::Bib(mode) => match mode.operation {
            None => display(View::Bib(mode.display)).await?,
            Some(BibOperation::Display(show)) => display(View::Bib(show)).await?,
            Some(BibOperation::Add(add)) => change::bib_add(&add).await?,
            Some(BibOperation::Remove(remove)) => change::bib_remove(&remove).await?,
        },
        Control::Session(mode) => match mode.operation {
            None => display(View::Session(mode.display)).await?,
            Some(SessionOperation::Display(show)) => display(View::Session(show)).await?,
            Some(SessionOperation::Follow(to)) => session::follow(&to).await?,
            Some(SessionOperation::Proxy(proxy)) => session::proxy(&proxy).await?,
            Some(SessionOperation::Advertise(to)) => session::advertise(&to).await?,
        },
        Control::Eamt(mode) => match mode.operation {
            None => display(View::Eamt(mode.display)).await?,
            Some(EamtOperation::Display(show)) => display(View::Eamt(show)).await?,
            Some(EamtOperation::Add(add)) => change::eamt_add(&add).await?,
            Some(EamtOperation::Remove(remove)) => change::eamt_remove(&remove).await?,
            Some(EamtOperation::Flush(ending)) => change::eamt_flush(&ending).await?,
        },
        Control::Denylist4(mode) => match mode.operation {
            None => display(View::Denylist4(mode.display)).await?,
            Some(Denylist4Operation::Display(show)) => display(View::Denylist4(show)).await?,
            Some(Denylist4Operation::Add(add)) => {
                let change = Change::Denylist4Add { prefix: add.prefix, force: add.force };
                change::plain(&add.to, Translator::Siit, change).await?;
            }
            Some(Denylist4Operation::Remove(remove)) => {
                let change = Change::Denylist4Remove { prefix: remove.prefix };
                change::plain(&remove.to, Translator::Siit, change).await?;
            }
            // Nothing ends by it: more is translated.
            Some(Denylist4Operation::Flush(ending)) => {
                change::plain(&ending.to, Translator::Siit, Change::Denylist4Flush).await?;
            }
        },
        Control::Stats(mode) => match mode.operation {
            None => display(View::Stats(mode.display)).await?,
            Some(StatsOperation::Display(show)) => display(View::Stats(show)).await?,
        },
        Control::Address(mode) => match mode.operation {
            AddressOperation::Query(query) => display::address(&query).await?,
        },
        Control::File(mode) => match mode.operation {
            FileOperation::Handle(handle) => change::file(&handle).await?,
            FileOperation::Check(check) => return files::check(&check),
        },
        Control::Nat64(quick) => quick::start(&quick.running, quick::nat64(&quick).await?).await?,
        Control::Siit(quick) => quick::start(&quick.running, quick::siit(&quick)?).await?,
        Control::Import(import) => match import.from {
            Source::Jool(jool) => files::import(&jool)?,
        },
        Control::Export(export) => files::export(&export).await?,
        Control::Diff(diff) => return Ok(files::diff(&diff).await),
        Control::Reload(Reload { to }) => files::reload(&to).await?,
        Control::Events(events) => events::follow(&events).await?,
    }
    Ok(ExitCode::SUCCESS)
}
