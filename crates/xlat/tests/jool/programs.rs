//! Programs that nodes run, and a web server that the test itself holds in a node: so it sees who its clients are.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xlat_netlab::Namespace;

/// One echo request, answered by `from` with this TTL or hop limit.
pub(crate) fn ping(node: &Namespace, target: &str, from: &str, ttl: u8) {
    let said = node.run(&format!("ping -n -c 1 -w 5 {target}")).unwrap();
    assert!(said.contains(&format!(" from {from}: ")) && said.contains(&format!(" ttl={ttl} ")), "{said}");
}

/// Whether an echo request is answered.
pub(crate) fn answers(node: &Namespace, target: &str) -> bool {
    node.run(&format!("ping -n -c 1 -w 1 {target}")).is_ok()
}

/// Who says that a packet with this hop limit ended.
pub(crate) fn hops(node: &Namespace, target: &str, limit: u8) -> String {
    let said = node.run(&format!("ping -n -c 1 -w 2 -t {limit} {target}")).unwrap_err().to_string();
    let output = node.line(&format!("ping -n -c 1 -w 2 -t {limit} {target}")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line =
        text.lines().find(|line| line.contains("Time exceeded")).unwrap_or_else(|| panic!("{text}{said}"));
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// A web server on port 80 of a node, for both families.
pub(crate) struct Server(Receiver<String>);

impl Server {
    /// Who came while `client` did what it does.
    pub(crate) fn peer(&self, client: impl FnOnce()) -> String {
        self.0.try_iter().for_each(drop);
        client();
        self.0.recv_timeout(Duration::from_secs(5)).unwrap()
    }
}

pub(crate) fn serve(node: &Namespace) -> Server {
    let namespace = File::open(format!("/proc/{}/ns/net", node.pid())).unwrap();
    let (sender, peers) = channel();
    let (ready, listens) = channel();
    // Ends when nobody wants to know about its next client, with the test at the latest.
    std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        drop(namespace);
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            let peer = stream.peer_addr().unwrap().ip().to_canonical().to_string();
            let mut request = [0; 1024];
            let answered = stream
                .read(&mut request)
                .and_then(|_| stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhi\n"));
            if answered.is_ok() && sender.send(peer).is_err() {
                return;
            }
        }
    });
    listens.recv_timeout(Duration::from_secs(5)).unwrap();
    Server(peers)
}

/// Fetches a page by HTTP; gives who the server saw.
pub(crate) fn fetch(node: &Namespace, host: &str, server: &Server) -> String {
    // curl wants IPv6 addresses without dotted quads in brackets, as URLs have them.
    let host = match host.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    };
    server.peer(|| {
        let page = node.run(&format!("curl -sf -g -m 5 http://{host}/")).unwrap();
        assert_eq!(page.trim_end(), "hi");
    })
}
