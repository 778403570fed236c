//! What the shell offers: words of the grammar, names of instances, entries of tables; and nothing, quickly, where nobody
//! answers.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::{Scene, XLAT};

/// The candidates for the last of the words.
fn offered(mut command: Command, words: &[&str]) -> Vec<String> {
    let index = words.len().to_string();
    let output = command
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", index)
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_COMPLETE_SPACE", "true")
        .env("_CLAP_IFS", "\n")
        .args(["--", "xlat"])
        .args(words)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    assert!(output.status.success(), "{words:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(['\n', '\u{b}']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn names_and_entries() {
    let Some(scene) = Scene::build("complete") else { return };
    let _daemon = scene.daemon(None);
    scene.stdout("nat64 --pool4 203.0.113.2 --name clients");
    scene.stdout("siit --eam 192.0.2.0/24=2001:db8:4::/120 --denylist4 198.51.100.0/24 --name edge");
    scene.stdout("bib add 2001:db8::8#80 203.0.113.2#80 --udp");
    let at = |words: &[&str]| offered(scene.t.command(XLAT), words);
    for (words, expected) in [
        (&["-i", ""][..], &["clients", "edge"][..]),
        (&["pool4", "--instance", "c"], &["clients"]),
        (&["instance", "remove", "e"], &["edge"]),
        (&["pool4", "remove", "2"], &["203.0.113.2"]),
        (&["eamt", "remove", "1"], &["192.0.2.0/24"]),
        (&["eamt", "remove", "2"], &["2001:db8:4::/120"]),
        (&["denylist4", "remove", "1"], &["198.51.100.0/24"]),
        (&["bib", "remove", "--udp", "203"], &["203.0.113.2#80"]),
        (&["bib", "remove", "--tcp", "203"], &[]),
        (&["global", "update", "tcp-e"], &["tcp-est-timeout"]),
        (&["global", "update", "logging-bib", ""], &["true", "false"]),
    ] {
        let offered = at(words);
        let offered: Vec<&str> =
            offered.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        assert_eq!(offered, expected, "{words:?}");
    }
    assert!(at(&["sess"]).contains(&"session".to_owned()));
    assert!(at(&["pool4", ""]).contains(&"flush".to_owned()));
    assert!(at(&["session", "--wi"]).contains(&"--within".to_owned()));
}

/// What a person does: half an IPv6 address, the tabulator key, and return.
#[test]
fn addresses_are_completed_in_shells() {
    let Some(scene) = Scene::build("shells") else { return };
    let _daemon = scene.daemon(None);
    scene.stdout("nat64 --pool4 203.0.113.2");
    let shells = [
        ("bash --norc -i", "source <(xlat completions bash)"),
        ("zsh -f -i", "autoload -U compinit; compinit -u -D; source <(xlat completions zsh)"),
        ("fish --no-config -i", "xlat completions fish | source"),
    ];
    for (shell, load) in shells {
        let name = shell.split(' ').next().unwrap();
        if Command::new(name).arg("--version").output().is_err() {
            eprintln!("skipped: there is no {name}");
            continue;
        }
        scene.stdout("bib add 2001:db8::8#80 203.0.113.2#80 --udp");
        // A shell that has not read yet what completes has nothing to complete by: the busier the machine the longer.
        let mut said = String::new();
        let done = [1, 3, 9].into_iter().any(|seconds| {
            said = typed(&scene, shell, load, Duration::from_secs(seconds));
            scene.stdout("bib --csv --no-headers").is_empty()
        });
        assert!(done, "{name}: {said}");
    }
}

/// What is on the terminal of a shell where a user completes the name of an entry and removes it.
fn typed(scene: &Scene, shell: &str, load: &str, pause: Duration) -> String {
    let folder = Path::new(XLAT).parent().unwrap().display();
    let mut command = scene.t.command("script");
    command.args(["-qec", &format!("stty cols 200; exec {shell}"), "/dev/null"]);
    command.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()));
    command.env("HOME", &scene.folder).env("TERM", "dumb").env("HISTFILE", "").env("PS1", "$ ");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    for words in [&format!("{load}\n"), "xlat bib remove --udp 2001:db8::8\t", "\rexit\r"] {
        write!(keys, "{words}").unwrap();
        std::thread::sleep(pause);
    }
    drop(keys);
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn nobody_answers() {
    let device = format!("none{}", std::process::id());
    let words = ["--device", &device, "-i", ""];
    let offered = offered(Command::new(XLAT), &[&["pool4"][..], &words].concat());
    assert_eq!(offered, Vec::<String>::new());
}

#[test]
fn scripts_for_the_shells() {
    for (shell, mark) in
        [("bash", "complete "), ("zsh", "#compdef xlat"), ("fish", "complete "), ("elvish", "edit:")]
    {
        let output = Command::new(XLAT).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains(mark) && script.contains("xlat"), "{shell}: {script}");
    }
    // bash takes its script, and completes by it.
    let line = format!(
        "PATH=\"{}:$PATH\"; source <(xlat completions bash); COMP_WORDS=(xlat pool4 fl); COMP_CWORD=2; \
         COMP_LINE='xlat pool4 fl'; COMP_POINT=13; COMP_TYPE=9; _clap_complete_xlat xlat fl pool4; echo \"${{COMPREPLY[@]}}\"",
        Path::new(XLAT).parent().unwrap().display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "flush", "{}", String::from_utf8_lossy(&output.stderr));
}
