//! Guests that behave badly: slow, stuck, too many, strangers, and several who want the same.

use std::io::{Read as _, Write as _};
use std::process::Command;

use xlat_control::api::{Changes, Status, Translator};
use xlat_control::{Change, ClientError, path};

use super::{EAMS, Server, own_uid, wait};

/// Connections at one time that the server takes.
const PLACES: usize = 256;

#[test]
fn a_request_that_never_ends_loses_its_connection() {
    let server = Server::start_hurried("loris");
    for begin in [
        "",
        "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        "POST /v1/changes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"tra",
    ] {
        let mut stream = server.connect();
        // It may be quicker than we are.
        let _ = stream.write_all(begin.as_bytes());
        let mut answer = String::new();
        // The server ends it; nothing but the read's own time limit would do so else.
        let read = stream.read_to_string(&mut answer);
        assert!(read.is_ok(), "{begin:?}: {read:?}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{begin:?}: {answer}");
    }
}

#[test]
fn a_client_that_takes_nothing_loses_its_connection() {
    let server = Server::start_hurried("stuck");
    let mut stream = server.connect();
    write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(Translator::Siit, "a/b #%?", "eamt")).unwrap();
    // What fits into the socket comes, and then the end, long before the end of the table.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut taken = Vec::new();
    stream.read_to_end(&mut taken).unwrap();
    let rows = taken.iter().filter(|byte| **byte == b'}').count();
    assert!(rows > 0 && rows < EAMS as usize / 2, "{rows} rows");
}

#[test]
fn more_guests_than_places_are_turned_away_until_some_leave() {
    let server = Server::start("crowd");
    let status = || wait(server.client().get::<Status>("/v1/status"));
    status().unwrap();
    let mut crowd: Vec<_> = (0..PLACES).map(|_| server.connect()).collect();
    let turned_away = status();
    assert!(
        matches!(turned_away, Err(ClientError::Broken(_) | ClientError::Unreachable(_))),
        "{turned_away:?}"
    );
    crowd.truncate(PLACES / 2);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while status().is_err() {
        assert!(std::time::Instant::now() < end, "places are not free again");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn of_several_that_want_the_same_one_gets_it() {
    let server = Server::start("race");
    let add = Changes {
        translator: Translator::Siit,
        instance: "a/b #%?".to_owned(),
        changes: vec![Change::EamtAdd {
            ipv6: "2001:db8:1::/96".parse().unwrap(),
            ipv4: "192.0.2.1/32".parse().unwrap(),
            force: false,
        }],
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let one = || scope.spawn(|| wait(server.client().change(&add)));
        let all: Vec<_> = (0..8).map(|_| one()).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let exists = |outcome: &&Result<(), ClientError>| matches!(outcome, Err(ClientError::Refused(error)) if error.errno == 17);
    assert_eq!(outcomes.iter().filter(exists).count(), 7, "{outcomes:?}");
}

#[test]
fn a_stranger_is_told_so_whatever_it_asks() {
    if own_uid() != 0 {
        eprintln!("skipped: another user can be tried by root only");
        return;
    }
    let server = Server::start("other");
    let socket = format!("xlat.{}", server.device);
    for asked in ["v1/status", "v1/openapi.json", "nothing"] {
        let told = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "curl",
                "-s",
                "-i",
                "--max-time",
                "10",
            ])
            .args(["--abstract-unix-socket", &socket, &format!("http://xlat/{asked}")])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(
            told.starts_with("HTTP/1.1 403 ") && told.contains("member of the group xlat"),
            "{asked}: {told}"
        );
    }
}

#[test]
fn a_change_that_has_begun_is_made_also_when_its_guest_has_gone() {
    let server = Server::start_slow("gone", std::time::Duration::from_millis(500));
    let remove = Changes {
        translator: Translator::Siit,
        instance: "a/b #%?".to_owned(),
        changes: vec![Change::EamtFlush],
    };
    let body = serde_json::to_string(&remove).unwrap();
    let mut stream = server.connect();
    let head = "POST /v1/changes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(stream);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let is_made = || {
        let config = std::sync::Arc::clone(&server.config.lock().unwrap());
        matches!(&config.instances[0].kind, xlat_config::Kind::Siit(siit) if siit.eamt.is_empty())
    };
    while !is_made() {
        assert!(std::time::Instant::now() < end, "the change was given up");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
