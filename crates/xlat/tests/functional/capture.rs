//! `xlat capture`: packets that are dropped are seen, with the reason, and read by other programs.

use std::fs;
use std::process::{Child, Command, Stdio};

use xlat_netlab::Namespace;

use crate::lab::{Xlat, cable, eventually, nodes, program, routes, skipped};
use crate::sockets::{udp, within};

/// A and V on both sides of T, which translates.
fn scene() -> ([Namespace; 3], Xlat) {
    let nodes = nodes(["A", "T", "V"]);
    let [a, t, v] = &nodes;
    cable((a, "eth0", &["2001:db8::8/96"]), (t, "eth0", &["2001:db8::1/96"]));
    cable((t, "eth1", &["203.0.113.1/24"]), (v, "eth0", &["203.0.113.16/24"]));
    routes(a, &["64:ff9b::/96 via 2001:db8::1"]);
    let xlat = Xlat::nat64(t, "64:ff9b::/96", "203.0.113.2");
    (nodes, xlat)
}

fn capture(t: &Namespace, words: &str) -> Command {
    let mut command = program(t.pid());
    command.arg("capture").args(words.split_whitespace());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Sends datagrams that nobody asked for until the capture has ended.
fn provoke(v: &Namespace, capture: &mut Child) {
    let socket = within(v, || udp(v, 5353));
    eventually("a capture with one packet", || {
        // The first may go before anybody looks.
        socket.send_to(b"unwanted", "203.0.113.2:9").unwrap();
        capture.try_wait().unwrap().is_some()
    });
}

#[test]
fn a_line_for_each_dropped_packet() {
    if skipped() {
        return;
    }
    let ([_a, t, v], _xlat) = scene();
    let mut lines = capture(&t, "--count 1 --within 203.0.113.16/32").spawn().unwrap();
    provoke(&v, &mut lines);
    let output = lines.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().count() == 1, "{text}");
    assert!(text.contains("203.0.113.16#5353 -> 203.0.113.2#9 UDP, 36 bytes"), "{text}");
    assert!(text.contains("RFC 6146"), "{text}");
}

#[test]
fn a_file_that_tcpdump_reads() {
    if skipped() {
        return;
    }
    let ([_a, t, v], _xlat) = scene();
    let file = std::env::temp_dir().join(format!("xlat-capture-{}.pcapng", std::process::id()));
    // T's own kernel joins multicast groups on xlat0, which is dropped, too.
    let words = format!("--count 1 --within 203.0.113.16/32 --snap-length 30 --write {}", file.display());
    let mut writing = capture(&t, &words).spawn().unwrap();
    provoke(&v, &mut writing);
    assert!(writing.wait_with_output().unwrap().status.success());
    let read = xlat_netlab::command("tcpdump").args(["-n", "-r"]).arg(&file).output().unwrap();
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let text = String::from_utf8(read.stdout).unwrap();
    assert!(text.contains("203.0.113.16.5353 > 203.0.113.2.9"), "{text}");
    let comment = b"(RFC 6146";
    assert!(bytes.windows(comment.len()).any(|bytes| bytes == comment), "the reason is missing");
}

/// Live, whichever interface the next packet comes in by.
#[test]
fn a_pipe_that_tcpdump_reads() {
    if skipped() {
        return;
    }
    let ([a, t, v], _xlat) = scene();
    let file = std::env::temp_dir().join(format!("xlat-capture-{}.txt", std::process::id()));
    let mut writing = capture(&t, "--write -").spawn().unwrap();
    let mut reading = xlat_netlab::command("tcpdump")
        .args(["-n", "-l", "-r", "-"])
        .stdin(writing.stdout.take().unwrap())
        .stdout(fs::File::create(&file).unwrap())
        .spawn()
        .unwrap();
    let (from_v, from_a) = (within(&v, || udp(&v, 5353)), within(&a, || udp(&a, 5354)));
    eventually("packets of both sides are shown", || {
        from_v.send_to(b"unwanted", "203.0.113.2:9").unwrap();
        from_a.send_to(b"unwanted", "[64:ff9b::127.0.0.1]:9").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        text.contains("203.0.113.16.5353 >") && text.contains("2001:db8::8.5354 >")
    });
    assert!(reading.try_wait().unwrap().is_none(), "tcpdump has given up");
    writing.kill().unwrap();
    writing.wait().unwrap();
    reading.wait().unwrap();
    fs::remove_file(&file).unwrap();
}

#[test]
fn only_what_is_wanted_and_only_so_many_at_a_time() {
    if skipped() {
        return;
    }
    let ([_a, t, v], _xlat) = scene();
    let output = capture(&t, "--reason nonsense").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("no reason `nonsense`"), "{said}");
    // Four run, the fifth is told so; what they do not want does not end them.
    let one = || capture(&t, "--count 1 --seconds 3 --reason hairpin-loop --json").spawn().unwrap();
    let mut running: Vec<Child> = (0..4).map(|_| one()).collect();
    let mut said = String::new();
    let socket = within(&v, || udp(&v, 5353));
    eventually("a fifth capture is refused", || {
        // On a busy machine the fifth may come before one of the four, or when they are over.
        for ended in running.iter_mut().filter_map(|child| child.try_wait().unwrap().map(|_| child)) {
            *ended = one();
        }
        socket.send_to(b"unwanted", "203.0.113.2:9").unwrap();
        let fifth = capture(&t, "--seconds 1 --reason hairpin-loop").output().unwrap();
        said = String::from_utf8(fifth.stderr).unwrap();
        said.contains("4 captures are running already")
    });
    for child in &mut running {
        let output = child.wait().unwrap();
        assert!(output.success());
    }
    for child in running {
        assert!(child.wait_with_output().unwrap().stdout.is_empty());
    }
}
