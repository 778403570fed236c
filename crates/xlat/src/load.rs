//! `xlat load`: the one step that takes all rights. It makes the maps, has the kernel verify the programs and pins them, so
//! that the daemon needs no right to load any.

use std::process::ExitCode;

use serde_json::json;
use xlat_config::{Hint, load_file};

use crate::cli;
use crate::commands::output::print;
use crate::commands::trouble::Trouble;
use crate::failure::{Failure, Outcome};
use crate::logging;
use crate::run::kernel;

/// Makes the kernel's part ready.
pub(crate) fn load(arguments: &cli::Load) -> Outcome<ExitCode> {
    match prepare(arguments) {
        Err(failure) if arguments.json => Ok(Trouble::from(failure).tell(true)),
        done => done,
    }
}

fn prepare(arguments: &cli::Load) -> Outcome<ExitCode> {
    let _logging = logging::start(None)?;
    let file = arguments.config.display();
    // What is wrong with it is said once, by the daemon that is started next.
    let loaded = load_file(&arguments.config, &Hint::default()).map_err(|_| {
        Failure::new(format!("nothing is loaded, because {file} has errors: xlat check {file}"))
    })?;
    let (word, said) = if !loaded.config.fast_path.enabled {
        ("off", "nothing is loaded: the fast path is turned off ([fast-path] enabled)")
    } else if kernel::prepare(&loaded.config, arguments.bpffs.as_deref())? {
        ("made", "the kernel has verified the programs, and keeps them for the daemon")
    } else {
        ("kept", "the programs are ready since an earlier start")
    };
    print(&match arguments.json {
        true => format!("{}\n", json!({ "programs": word })),
        false => format!("{said}\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}
