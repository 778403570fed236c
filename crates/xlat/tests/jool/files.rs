//! Jool's atomic files: an instance is made, replaced, or left as it was, and the packets go on.

use std::fs;

use crate::lab::Scene;

#[test]
fn a_file_makes_an_instance_replaces_it_or_changes_nothing() {
    let Some(scene) = Scene::build("file") else { return };
    let _daemon = scene.daemon();
    let write = |name: &str, content: &str| fs::write(scene.folder.path().join(name), content).unwrap();
    let file = |rest: &str| format!("{{\"instance\": \"n1\", \"framework\": \"netfilter\", {rest}}}");
    let pool6 = "\"global\": {\"pool6\": \"64:ff9b::/96\"}";
    let pool4 = |prefix: &str| {
        let of = |protocol: &str| format!("{{\"protocol\": \"{protocol}\", \"prefix\": \"{prefix}\"}}");
        format!("\"pool4\": [{}, {}]", of("TCP"), of("ICMP"))
    };
    write("first.json", &file(&format!("{pool6}, {}", pool4("203.0.113.2"))));
    write("second.json", &file(&format!("{pool6}, {}", pool4("203.0.113.3"))));
    write("unknown.json", &file(&format!("{pool6}, \"eamt\": []")));
    write("other6.json", &file("\"global\": {\"pool6\": \"64:ff9b:1::/96\"}, \"pool4\": []"));
    write("framework.json", &file(&format!("{pool6}, \"pool4\": []")).replace("netfilter", "iptables"));
    write("half.json", "{\"instance\": \"n1\", ");
    scene.stdout("jool file handle first.json");
    assert!(scene.pings());
    let state = || {
        scene.stdout("jool -f first.json pool4 display --csv --no-headers")
            + &scene.stdout("jool -f first.json bib display --icmp --csv --no-headers")
            + &scene.stdout("jool -f first.json global display --csv")
    };
    let before = state();
    assert!(before.starts_with("0,TCP,203.0.113.2,61001,65535,1024,0\nICMP,2001:db8::8,"), "{before}");
    for (line, code, says) in [
        ("file handle unknown.json", 234, "Error: Unknown tag: 'eamt'"),
        ("file handle other6.json", 22, "Sorry; you can't change a NAT64 instance's pool6 for now."),
        ("file handle framework.json", 22, "Sorry; you can't change an instance's framework for now."),
        ("file handle half.json", 234, "The JSON parser got confused around the beginning of this string:"),
        ("-i n2 file handle first.json", 234, "n2"),
        (
            "file handle missing.json",
            2,
            "Error: Could not open file \"missing.json\": No such file or directory\n",
        ),
    ] {
        let (exit, said) = scene.refusal(&format!("jool {line}"));
        assert_eq!(exit, code, "{line}: {said}");
        assert!(said.contains(says), "{line}: {said}");
        assert_eq!(state(), before, "{line}");
    }
    // The same file again changes nothing that goes on.
    scene.stdout("jool file handle first.json");
    assert_eq!(state(), before);
    let translated = || scene.stdout("jool -i n1 stats display --all | grep JSTAT_SUCCESS");
    assert_eq!(translated(), "JSTAT_SUCCESS: 0\n", "what a file replaces counts from zero");
    assert!(scene.pings());
    assert_eq!(translated(), "JSTAT_SUCCESS: 2\n");
    scene.stdout("jool -i n1 global update tos 1");
    assert_eq!(translated(), "JSTAT_SUCCESS: 2\n", "a change of an option leaves them");
    // State that the new file allows goes on: here it does not, so the mapping ends and a new one is made.
    scene.stdout("jool file handle second.json");
    assert!(state().starts_with("0,TCP,203.0.113.3,61001,65535,1024,0\nField"));
    assert!(scene.pings());
    assert!(scene.stdout("jool -i n1 bib display --icmp --numeric").contains("203.0.113.3#"));
}
