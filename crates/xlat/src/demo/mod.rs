//! `xlat demo`: builds a small network out of namespaces, runs `xlat` in it, and shows with real programs what works.

mod peer;
mod report;
mod scene;
mod scenes;
mod steps;
mod stream;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use xlat_netlab::{missing_programs, search_path, unavailable};

use crate::cli::{self, Demo};
use crate::commands::trouble::Trouble;
use crate::failure::{Failure, Outcome};

pub(crate) use peer::peer;
use report::Report;
use scene::Scene;

/// The programs that the steps use, besides those of the laboratory.
const PROGRAMS: [&str; 4] = ["curl", "ping", "sysctl", "traceroute"];

/// Plays a scene; fails if any of its steps does.
pub(crate) fn play(arguments: &Demo) -> Outcome<ExitCode> {
    match scene(arguments) {
        Err(failure) if arguments.json => Ok(Trouble::from(failure).tell(true)),
        played => played,
    }
}

fn scene(arguments: &Demo) -> Outcome<ExitCode> {
    let missing: Vec<&str> =
        missing_programs(&PROGRAMS).into_iter().chain(missing_programs(&xlat_netlab::PROGRAMS)).collect();
    if !missing.is_empty() {
        let list = missing.join(", ");
        return Err(Failure::new(format!(
            "the demo needs programs that are missing here: {list}; `make install-deps` installs them"
        )));
    }
    if let Some(reason) = unavailable() {
        if arguments.in_user_namespace {
            return Err(Failure::new(format!("{reason}; run the demo as root")));
        }
        return Err(again_in_user_namespace());
    }
    let (layout, steps): (_, fn(&mut Scene, &mut Report, u64)) = match arguments.scene {
        cli::Scene::Nat64 => (&scenes::NAT64, scenes::nat64),
        cli::Scene::Siit => (&scenes::SIIT, scenes::siit),
    };
    let mut report = Report::new(arguments.json);
    report.say(
        format_args!("{}\n\n{}\n", layout.title, layout.drawing),
        json!({ "scene": layout.title, "configuration": layout.config }),
    );
    let mut scene = Scene::build(layout, &report)?;
    steps(&mut scene, &mut report, arguments.bytes);
    if arguments.keep {
        keep(&mut scene, &report, arguments.in_user_namespace);
    }
    report.step("xlat takes its changes back", || scene.end());
    if report.finish() {
        return Ok(ExitCode::SUCCESS);
    }
    let log = scene.log();
    report.say(format_args!("\nThe end of xlat's log:\n{log}"), json!({ "log": log }));
    Ok(ExitCode::FAILURE)
}

/// Starts this program again as root of a user namespace. Returns only if that does not work.
fn again_in_user_namespace() -> Failure {
    const ROOT: [&str; 3] = ["--user", "--map-root-user", "--"];
    const ADVICE: &str = "this system gives no user namespaces to unprivileged users; run the demo as root";
    let unshare = || {
        let mut command = Command::new("unshare");
        command.env("PATH", search_path()).args(ROOT);
        command
    };
    match unshare().arg("true").output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return Failure::new(format!("{} ({ADVICE})", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Err(error) => return Failure::doing("cannot start unshare", &error),
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Failure::doing("cannot find this program's own file", &error),
    };
    let error = unshare().arg(program).args(std::env::args_os().skip(1)).arg("--in-user-namespace").exec();
    Failure::doing("cannot start this program again", &error)
}

/// Says how to look around, and waits for the Enter key.
fn keep(scene: &mut Scene, report: &Report, in_user_namespace: bool) {
    let user = if in_user_namespace { " --user --preserve-credentials" } else { "" };
    let nodes = [&scene.a, &scene.t, &scene.v];
    let shells: String = nodes
        .iter()
        .map(|node| {
            format!("  nsenter --target {}{user} --net    # a shell on {}\n", node.pid(), node.name())
        })
        .collect();
    let (file, pid) = (scene.folder().join("xlat.toml").display().to_string(), scene.xlat_pid());
    let pids: BTreeMap<&str, u32> = nodes.iter().map(|node| (node.name(), node.pid())).collect();
    report.say(
        format_args!(
            "\nThe scene stays until you press Enter or Ctrl-C. To look around, in another terminal:\n{shells}\
             The configuration is {file}; `kill -HUP {pid}` makes xlat read it again, `kill -USR1 {pid}` shows the counters.\n\
             What xlat logs from now on:"
        ),
        json!({ "kept": true, "namespaces": pids, "file": file, "daemon": pid }),
    );
    let enter = Arc::new(AtomicBool::new(false));
    let pressed = Arc::clone(&enter);
    std::thread::spawn(move || {
        // At the end of the input nobody is at the keyboard, and only a signal ends this program.
        let read = io::stdin().lock().read_line(&mut String::new());
        pressed.store(matches!(read, Ok(1..)), Ordering::Relaxed);
    });
    // What was logged before the scene was left alone is no news.
    let _ = scene.log();
    while !enter.load(Ordering::Relaxed) {
        if let Some(line) = scene.next_log_line() {
            report.say(&line, json!({ "log": line }));
        }
    }
}
