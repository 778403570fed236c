//! The live page in a real browser, with real traffic: numbers appear and change, nothing is blocked by the page's own policy,
//! and no name becomes markup.

use std::path::PathBuf;
use std::time::Duration;

use xlat_netlab::Namespace;

use crate::lab::{Xlat, cable, nodes, routes, skipped};
use crate::programs::ping;
use crate::sockets::udp;

const V: &str = "64:ff9b::203.0.113.16";
const CONFIG: &str = "[web]\nlisten = \"127.0.0.1:9464\"\n[[instance]]\nname = \"<b>nat</b>\"\ntype = \"nat64\"\n\
                      pool4 = [\"203.0.113.2\"]\n[instance.global]\npool6 = \"64:ff9b::/96\"\n";
/// No connections of the browser's own, and nothing that lasts.
const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars \
                     --enable-logging=stderr";

/// The browser's profile, which goes with the test.
struct Profile(PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        // Leaving a folder behind in the temporary folder fails no test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the browser on the page; gives what it prints.
fn browse(node: &Namespace, profile: &Profile, what: &str) -> (String, String) {
    let line = format!(
        "timeout 60 chromium {FLAGS} --user-data-dir={} {what} http://127.0.0.1:9464/",
        profile.0.display()
    );
    let output = node.line(&line).env("HOME", &profile.0).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (page, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{line}: {log}");
    (page, log)
}

/// What stands in the element with this identifier.
fn shown<'p>(page: &'p str, id: &str) -> &'p str {
    let after = page.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("{id} in {page}")).1;
    after.split_once('>').unwrap().1.split_once("</p>").unwrap().0
}

#[test]
fn the_page_shows_what_happens() {
    if skipped() {
        return;
    }
    let [a, t, v] = nodes(["A", "T", "V"]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("chromium").exists()) {
        assert!(std::env::var_os("XLAT_BROWSER").is_none(), "there has to be a browser, and is not");
        eprintln!("skipped: chromium is not installed (make install-browser)");
        return;
    }
    cable((&a, "eth0", &["2001:db8::8/96"]), (&t, "eth0", &["2001:db8::1/96"]));
    cable((&v, "eth0", &["203.0.113.16/24"]), (&t, "eth1", &["203.0.113.1/24"]));
    routes(&a, &["64:ff9b::/96 via 2001:db8::1"]);
    t.ip("link set lo up").unwrap();
    let xlat = Xlat::start(&t, CONFIG);
    let profile = Profile(std::env::temp_dir().join(format!("xlat-browser-{}", std::process::id())));
    std::fs::create_dir_all(&profile.0).unwrap();
    let dump = "--virtual-time-budget=3000 --dump-dom";

    let (before, log) = browse(&t, &profile, dump);
    assert_eq!(shown(&before, "state"), "translating");
    assert_eq!(shown(&before, "sessions"), "0");
    assert!(before.contains("Nobody has a session."), "{before}");
    assert!(!log.contains("CONSOLE"), "{log}");

    ping(&a, V, 63);
    let client = udp(&a, 4000);
    for port in 5000..5020 {
        client.send_to(b"hello", (V, port)).unwrap();
    }
    let _lost = a.run("ping -n -c 3 -i 0.2 -w 1 64:ff9b::127.0.0.1");
    std::thread::sleep(Duration::from_millis(500));
    let (after, log) = browse(&t, &profile, dump);
    let sessions: u64 = shown(&after, "sessions").parse().unwrap();
    assert!(sessions >= 21, "{sessions}");
    for part in ["2001:db8::8", "203.0.113.2", "&lt;b&gt;nat&lt;/b&gt;", "destination6-refused", "worker 0"] {
        assert!(after.contains(part), "{part} in {after}");
    }
    assert!(!after.contains("<b>nat</b>"), "a name became markup");
    assert!(!log.contains("CONSOLE"), "{log}");

    xlat.stop();
}
