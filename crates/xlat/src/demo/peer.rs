//! The programs that the demo runs in its namespaces: a small HTTP server with UDP echo, and a UDP client.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::cli::Peer;
use crate::failure::{Failure, Outcome};

use super::stream::{Checksum, generate};

/// Port of the server.
pub(super) const PORT: u16 = 8080;
/// What the server says when it listens.
pub(super) const LISTENING: &str = "listening";

/// Longest request head in bytes.
const HEAD_MAX: u64 = 8192;
/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest datagram of the exchange, in bytes: more than fits any packet on the wire.
const DATAGRAM_MAX: usize = 8000;

/// Datagrams of the exchange that may be lost at first: a step of path MTU discovery each way takes one.
const AGAIN_MAX: u32 = 4;

/// Runs one of them.
pub(crate) fn peer(peer: &Peer) -> Outcome {
    match peer {
        Peer::Serve { port } => serve(*port),
        Peer::Exchange { address, port, count } => exchange(SocketAddr::new(*address, *port), *count),
    }
}

/// `GET /N`: N bytes of stream 0. `PUT`: the checksum of what was sent, in 16 hexadecimal digits. UDP: echo.
fn serve(port: u16) -> Outcome {
    let any = (Ipv6Addr::UNSPECIFIED, port);
    let (listener, echo) = (TcpListener::bind(any)?, UdpSocket::bind(any)?);
    std::thread::spawn(move || {
        let mut datagram = [0; 65536];
        loop {
            // An ICMP error for an earlier answer is no reason to end.
            if let Ok((length, from)) = echo.recv_from(&mut datagram) {
                let _ = echo.send_to(&datagram[..length], from);
            }
        }
    });
    writeln!(io::stdout(), "{LISTENING}")?;
    loop {
        let (connection, from) = listener.accept()?;
        std::thread::spawn(move || {
            if let Err(error) = answer(&connection) {
                let _ = writeln!(io::stderr(), "{from}: {error}");
            }
        });
    }
}

fn answer(connection: &TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut input = BufReader::new(connection);
    let mut output = connection;
    let head = |length| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n"
        )
    };
    match request(&mut input)? {
        Some(Request::Get(length)) => {
            output.write_all(head(length).as_bytes())?;
            generate(0, length, |block| output.write_all(block))
        }
        Some(Request::Put(length)) => {
            let mut sum = Checksum::default();
            let mut body = input.take(length);
            loop {
                let bytes = body.fill_buf()?;
                if bytes.is_empty() {
                    break;
                }
                sum.add(bytes);
                let length = bytes.len();
                body.consume(length);
            }
            let text = format!("{:016x}\n", sum.value());
            write!(output, "{}{text}", head(text.len() as u64))
        }
        None => {
            output.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Get(u64),
    Put(u64),
}

/// Reads the head of a request.
fn request(input: &mut impl io::BufRead) -> io::Result<Option<Request>> {
    let mut lines = input.take(HEAD_MAX).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut length = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let mut words = first.split(' ');
    Ok(match (words.next(), words.next()) {
        (Some("GET"), Some(path)) => path.trim_start_matches('/').parse().ok().map(Request::Get),
        (Some("PUT"), Some(_)) => length.map(Request::Put),
        _ => None,
    })
}

/// Sends `count` datagrams of all sizes one by one; each has to come back unchanged. One that does not fit the path is lost
/// while its sender learns the path's MTU (RFC 1191, RFC 8201), so a lost one is sent once more.
fn exchange(server: SocketAddr, count: u16) -> Outcome {
    let any: IpAddr =
        if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut back = vec![0; DATAGRAM_MAX + 1];
    let mut again = 0;
    for number in 0..u64::from(count) {
        // A prime step visits sizes all over the range.
        let size = 1 + number * 997 % DATAGRAM_MAX as u64;
        let mut datagram = Vec::new();
        generate(number, size, |block| {
            datagram.extend_from_slice(block);
            Ok(())
        })?;
        let fail = |error: io::Error| Failure::doing(format!("datagram {number} of {size} bytes"), &error);
        let mut turn = || {
            socket.send(&datagram)?;
            socket.recv(&mut back)
        };
        let length = match turn() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                again += 1;
                turn().map_err(fail)?
            }
            first => first.map_err(fail)?,
        };
        if back[..length] != datagram {
            return Err(Failure::new(format!("datagram {number} of {size} bytes came back changed")));
        }
    }
    if again > AGAIN_MAX {
        return Err(Failure::new(format!("{again} of {count} datagrams were lost at first")));
    }
    let note = if again > 0 { format!("; path MTU discovery took {again}") } else { String::new() };
    Ok(writeln!(io::stdout(), "{count} datagrams of 1 to {DATAGRAM_MAX} bytes came back unchanged{note}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let parse = |text: &str| request(&mut text.as_bytes()).unwrap();
        assert_eq!(parse("GET /50 HTTP/1.1\r\nHost: a\r\n\r\n"), Some(Request::Get(50)));
        assert_eq!(parse("PUT / HTTP/1.1\r\ncontent-length: 7\r\n\r\nabcdefg"), Some(Request::Put(7)));
        for wrong in
            ["", "\r\n", "GET", "GET /x HTTP/1.1\r\n\r\n", "PUT / HTTP/1.1\r\n\r\n", "POST /1 HTTP/1.1"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
