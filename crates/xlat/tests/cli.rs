//! What people read: help, findings of `check`, explanations. The snapshots beside this file are the expected texts.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program in the repository's root with a fixed width.
fn xlat(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new(env!("CARGO_BIN_EXE_xlat"))
        .args(arguments)
        .current_dir(root)
        .env("COLUMNS", "100")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it says, and how it ends.
fn said(arguments: &[&str]) -> String {
    let output = xlat(arguments);
    format!(
        "$ xlat {}\n{}{}-- {}\n",
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr),
        output.status
    )
}

/// `check` of a file with this content, host left out.
fn checked(content: &str) -> String {
    let folder = std::env::temp_dir().join(format!("xlat-cli-{}-{:p}", std::process::id(), content));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("xlat.toml");
    std::fs::write(&file, content).unwrap();
    let said = said(&["check", "--no-host", file.to_str().unwrap()]);
    std::fs::remove_dir_all(&folder).unwrap();
    said.replace(folder.to_str().unwrap(), "FOLDER")
}

#[test]
fn help() {
    let commands = [
        "run",
        "load",
        "check",
        "explain",
        "demo",
        "nat64",
        "siit",
        "instance",
        "global",
        "pool4",
        "bib",
        "session",
        "eamt",
        "denylist4",
        "stats",
        "address",
        "file",
        "diff",
        "reload",
        "export",
        "import",
        "events",
        "completions",
        "man",
    ];
    let all: Vec<String> = std::iter::once(said(&["--help"]))
        .chain(commands.map(|command| said(&[command, "--help"])))
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn version() {
    assert_eq!(
        said(&["--version"]),
        format!("$ xlat --version\nxlat {}\n-- exit status: 0\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn wrong_words() {
    let all = [
        said(&["rum"]),
        said(&["explain", "2001:db8::8"]),
        said(&["explain", "--config", "docs/examples/nat64.toml", "2001:db8::8", "192.0.2.1"]),
        said(&["explain", "--config", "docs/examples/nat64.toml", "--packet", "600"]),
        said(&["demo", "--bytes", "many"]),
        said(&["check", "--no-host", "no/such/file.toml"]),
        said(&["run", "--config", "docs/examples/nat64.toml", "--log-level", "x=y=z"]),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn check_says_where_and_what_to_do() {
    let all = [
        checked(
            "[[instance]]\nname = \"a\"\ntype = \"nat64\"\npol4 = [\"203.0.113.2\"]\n[instance.global]\npool6 = \"64:ff9b::1/96\"\n",
        ),
        checked(
            "[[instance]]\nname = \"a\"\ntype = \"siit\"\neamt = [\"192.0.2.0/24 2001:db8::/120\", \"192.0.2.0/24 2001:db8:1::/120\"]\n",
        ),
        checked("[[instance]\n"),
        checked(""),
        said(&["check", "--no-host", "docs/examples/nat64.toml"]),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn check_reads_what_comes_by_a_pipe() {
    let bash = |script: &str| {
        let mut command = Command::new("bash");
        let output = command.args(["-c", script, env!("CARGO_BIN_EXE_xlat")]).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let good = "[[instance]]\\nname=\"a\"\\ntype=\"siit\"\\n[instance.global]\\npool6=\"64:ff9b::/96\"\\n";
    let (code, said, _) = bash(&format!("printf '{good}' | \"$0\" check --no-host -"));
    assert_eq!((code, said.as_str()), (Some(0), "standard input: can be used: instance a (SIIT)\n"));
    let (code, said, _) = bash(&format!("\"$0\" check --no-host <(printf '{good}')"));
    assert!(code == Some(0) && said.ends_with(": can be used: instance a (SIIT)\n"), "{code:?} {said}");
    let (code, said, errors) = bash("printf 'x = 1' | \"$0\" check --no-host -");
    assert_eq!(code, Some(1));
    assert!(
        format!("{said}{errors}").starts_with("standard input:1:1: error: unknown key 'x'\n"),
        "{said}{errors}"
    );
    // One that nobody writes to would never end.
    let pipe = std::env::temp_dir().join(format!("xlat-check-pipe-{}", std::process::id()));
    let (code, said, errors) = bash(&format!(
        "mkfifo {0} && \"$0\" check --no-host {0}; code=$?; rm {0}; exit $code",
        pipe.display()
    ));
    assert_eq!(code, Some(1));
    assert!(format!("{said}{errors}").contains("it is a named pipe"), "{said}{errors}");
}

#[test]
fn check_tells_programs_the_same() {
    let lines = |words: &[&str]| -> Vec<serde_json::Value> {
        let output = xlat(words);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let file = std::env::temp_dir().join(format!("xlat-check-json-{}.toml", std::process::id()));
    let name = file.display().to_string();
    std::fs::write(&file, "[[instance]]\nname = \"a\"\ntype = \"nat64\"\npol4 = []\n[instance.global]\npool6 = \"64:ff9b::/96\"\n").unwrap();
    let found = lines(&["check", "--no-host", "--json", &name]);
    assert_eq!(
        (&found[0]["severity"], &found[0]["line"], &found[0]["file"]),
        (&"error".into(), &4.into(), &name.clone().into())
    );
    assert!(found[0]["help"].is_string(), "{found:?}");
    assert_eq!(found.last().unwrap()["usable"], false);
    std::fs::remove_file(&file).unwrap();
    let found = lines(&["check", "--json", "docs/examples/nat64.toml"]);
    let verdict = found.last().unwrap();
    assert_eq!(verdict["instances"][0]["translator"], "nat64", "{verdict}");
    assert!(verdict["host"]["kernel"].is_string(), "{verdict}");
}

#[test]
fn check_tells_what_the_host_offers() {
    let output = xlat(&["check", "docs/examples/siit.toml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for row in ["kernel", "/dev/net/tun", "tun offloads", "capabilities"] {
        assert!(text.contains(&format!("\n  {row} ")), "{row} is missing:\n{text}");
    }
}

#[test]
fn explanations() {
    const UDP: &str = "6000000000081140 20010db8000000000000000000000008 0064ff9b0000000000000000c6336407 \
                       9c40 0035 0008 0000";
    let explain = |config: &str, packet: &[&str]| {
        let config = format!("docs/examples/{config}.toml");
        let mut arguments = vec!["explain", "--config", &config];
        arguments.extend(packet);
        said(&arguments)
    };
    let all = [
        explain("nat64", &["2001:db8::8", "64:ff9b::198.51.100.7", "tcp", "40000", "443"]),
        explain("nat64", &["2001:db8::8", "2001:db8::9", "udp"]),
        explain("nat64", &["198.51.100.7", "203.0.113.2", "tcp", "50000", "443"]),
        explain("nat64", &["198.51.100.7", "203.0.113.2", "udp", "53", "7"]),
        explain("nat64", &["--packet", UDP]),
        explain("nat64", &["--packet", "00"]),
        explain("siit-dc", &["198.51.100.7", "192.0.2.1"]),
        explain("siit", &["2001:db8::198.51.100.8", "2001:db8::192.0.2.16", "udp", "40000", "53"]),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn completions_and_manual() {
    for (shell, mark) in [("bash", "_clap_complete_xlat()"), ("zsh", "#compdef xlat"), ("fish", "complete ")]
    {
        let script = String::from_utf8(xlat(&["completions", shell]).stdout).unwrap();
        assert!(script.contains(mark) && script.contains("COMPLETE="), "{shell}");
        assert!(xlat(&["completions", shell]).status.success());
    }
    let page = String::from_utf8(xlat(&["man"]).stdout).unwrap();
    assert!(page.contains(".TH xlat 1"), "{page}");
    let folder = std::env::temp_dir().join(format!("xlat-man-{}", std::process::id()));
    assert!(xlat(&["man", folder.to_str().unwrap()]).status.success());
    for name in ["xlat.1", "xlat-run.1", "xlat-check.1", "xlat-explain.1", "xlat-demo.1"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    let reader = Command::new("man").arg("--version").output().is_ok_and(|output| output.status.success());
    for page in std::fs::read_dir(&folder).unwrap().map(|page| page.unwrap().path()) {
        let name = page.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&page).unwrap();
        let title = format!(".TH {name} 1  \"xlat {}\" \"Manual of xlat\"", env!("CARGO_PKG_VERSION"));
        assert!(text.lines().any(|line| line == title), "{title} is not in it:\n{text}");
        if reader {
            let shown = Command::new("man")
                .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
                .arg(&page)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&shown.stderr), "", "{name}");
        }
    }
    if !reader {
        eprintln!("not read by man: there is none");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn nobody_listening_is_no_panic() {
    for arguments in
        [&["check", "--no-host", "docs/examples/nat64.toml"][..], &["man"], &["completions", "bash"]]
    {
        let line =
            format!("{} {} | true; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_xlat"), arguments.join(" "));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let output = Command::new("bash").args(["-c", &line]).current_dir(root).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(errors, "", "{line}");
    }
}

#[test]
fn load_leaves_it_to_the_daemon_to_name_mistakes() {
    let file = std::env::temp_dir().join(format!("xlat-cli-load-{}.toml", std::process::id()));
    std::fs::write(&file, "[[instance]]\nname = 5\n").unwrap();
    let output = xlat(&["load", "--config", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("xlat check") && !said.contains("name = 5"), "{said}");
}
