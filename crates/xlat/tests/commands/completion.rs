//! What the shell offers: words of the grammar, names of instances, entries of tables; and nothing, quickly, where nobody
//! answers.

use std::process::Command;

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
        std::path::Path::new(XLAT).parent().unwrap().display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "flush", "{}", String::from_utf8_lossy(&output.stderr));
}
