//! What the commands say to programs that speak with no daemon: objects only, on both outputs.

use std::fs;

use serde_json::Value;

use crate::files::JOOL;
use crate::lab::{Scene, XLAT};

/// It translates nothing, which is a warning.
const EMPTY: &str = r#"{"instance": "office", "framework": "netfilter", "eamt": []}"#;

/// Each line an object.
fn objects(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

#[test]
fn files_and_the_kernels_part() {
    let Some(scene) = Scene::build("json") else { return };
    fs::write(scene.folder.join("good.json"), JOOL).unwrap();
    fs::write(scene.folder.join("warned.json"), EMPTY).unwrap();
    fs::write(scene.folder.join("off.toml"), "[fast-path]\nenabled = false\n").unwrap();
    for name in ["good", "warned"] {
        let output = scene.run(&format!("import jool {name}.json --json"));
        let said = objects(&output.stdout);
        assert_eq!((said.len(), &said[0]["instance"][0]["name"]), (1, &"office".into()), "{output:?}");
        let warned = objects(&output.stderr);
        let expected: &[&str] = if name == "warned" { &["warning"] } else { &[] };
        let found: Vec<_> = warned.iter().map(|one| one["severity"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{output:?}");
    }
    let warned = objects(scene.stdout("file check warned.json --json").as_bytes());
    assert_eq!(warned[0]["severity"], "warning");
    for refused in ["import jool missing.json --json", "load --json --config missing.toml"] {
        let (code, said) = scene.refused(refused);
        assert!(code == 1 && objects(said.as_bytes())[0]["error"]["what"].is_string(), "{said}");
    }
    assert_eq!(scene.stdout("load --json --config off.toml"), "{\"programs\":\"off\"}\n");
}

#[test]
fn the_status_can_be_watched_where_no_daemon_runs() {
    let Some(scene) = Scene::build("watched-status") else { return };
    let mut command = scene.t.command("timeout");
    let output = command.args(["2", XLAT, "status", "--watch", "0.2", "--json"]).output().unwrap();
    let said = objects(&output.stdout);
    assert!(said.len() > 1 && said.iter().all(|one| one["daemon"]["pid"].is_null()), "{output:?}");
}
