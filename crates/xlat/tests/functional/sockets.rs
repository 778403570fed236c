//! Sockets in a node, held by the test itself: so it sees who the peer is.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xlat_netlab::Namespace;

use crate::lab::LIMIT;

/// Does something within a node, such as opening a socket, which stays there.
pub(crate) fn within<T: Send>(node: &Namespace, act: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/proc/{}/ns/net", node.pid())).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

/// A UDP socket of a node for both families, with a time limit for receiving. Port 0: any.
pub(crate) fn udp(node: &Namespace, port: u16) -> UdpSocket {
    let socket = within(node, || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    socket
}

/// An address as the socket of both families wants it.
pub(crate) fn mapped(address: &str) -> IpAddr {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        v6 @ IpAddr::V6(_) => v6,
    }
}

/// An address and port without that mapping.
pub(crate) fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Datagrams of all kinds of sizes from a client to a server, and each back; gives who the server saw. Path MTU discovery may
/// take a few.
pub(crate) fn exchange(client: &UdpSocket, server: &UdpSocket, target: &str, port: u16) -> SocketAddr {
    let target = SocketAddr::new(mapped(target), port);
    let mut room = vec![0; 1 << 16];
    let (mut seen, mut lost) = (None, 0);
    for size in [0, 1, 7, 512, 1231, 1232, 1233, 1400, 1452, 1453, 1472, 1473, 2000, 2961, 8000, 20_001] {
        let content = pattern(size);
        loop {
            client.send_to(&content, target).unwrap();
            let there = server.recv_from(&mut room).and_then(|(length, from)| {
                assert!(room[..length] == content, "{size} bytes arrived as {length} others");
                seen.get_or_insert(from);
                assert_eq!(seen, Some(from), "the client's mapping must not change");
                server.send_to(&room[..length], from)?;
                let (length, from) = client.recv_from(&mut room)?;
                assert!(room[..length] == content, "{size} bytes came back as {length} others");
                assert_eq!(from, target);
                Ok(())
            });
            match there {
                Ok(()) => break,
                Err(error) => {
                    lost += 1;
                    assert!(lost < 5, "{size} bytes to {target}: {error}");
                }
            }
        }
    }
    unmapped(seen.unwrap())
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect()
}

/// Downloads `size` bytes by HTTP with curl from a server on another node, and compares them; gives who the server saw.
/// `target` is the server's address for the client.
pub(crate) fn download(client: &Namespace, server: &Namespace, target: &str, size: usize) -> SocketAddr {
    let listener = listen(server, 0);
    let port = listener.local_addr().unwrap().port();
    serve_one(client, &listener, target, port, size)
}

/// As [`download`], from a server that listens already; `port` is the one that the client asks.
pub(crate) fn serve_one(
    client: &Namespace,
    listener: &TcpListener,
    target: &str,
    port: u16,
    size: usize,
) -> SocketAddr {
    let host = if target.contains(':') { format!("[{target}]") } else { target.to_owned() };
    let mut curl = client
        .command("curl")
        .args(["--silent", "--show-error", "--fail", "--globoff", "--noproxy", "*", "--max-time", "30"])
        .arg(format!("http://{host}:{port}/"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let content = pattern(size);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| answer(listener, &content));
        let mut received = Vec::new();
        curl.stdout.take().unwrap().read_to_end(&mut received).unwrap();
        let ended = curl.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        let seen = server.join().unwrap();
        assert!(ended.status.success(), "{}: {said} ({seen:?})", client.name());
        assert!(received == content, "{} of {size} bytes, or others", received.len());
        unmapped(seen.unwrap())
    })
}

/// A listening socket of a node.
pub(crate) fn listen(node: &Namespace, port: u16) -> TcpListener {
    within(node, || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))).unwrap()
}

/// Answers one request for anything with `content`.
fn answer(listener: &TcpListener, content: &[u8]) -> io::Result<SocketAddr> {
    let (mut connection, from) = accept(listener)?;
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    let mut request = Vec::new();
    let mut block = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") && request.len() < 8192 {
        let length = connection.read(&mut block)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&block[..length]);
    }
    write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len())?;
    connection.write_all(content)?;
    Ok(from)
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let end = Instant::now() + LIMIT;
    loop {
        match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}
