//! Where lines can go: the daemon's own log, a file, syslog (RFC 5424; over TCP by RFC 6587 3.4.1).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use xlat_config::LogTo;
use xlat_control::events::rfc3339;

use crate::failure::{Failure, Outcome};

/// Longest time that syslog may take for anything.
const PATIENCE: Duration = Duration::from_secs(1);
/// After trouble with syslog nothing is tried for so long; twice as long each time, up to the other.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether the file has been moved away.
const LOOK: Duration = Duration::from_millis(250);
/// The socket of the host's syslog daemon.
const LOCAL: &str = "/dev/log";
/// Facility `daemon`, severity `informational` (RFC 5424 6.2.1).
const PRIORITY: u8 = 3 << 3 | 6;

/// How many lines were written, from the first on, and why not all.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) lines: usize,
    pub(super) trouble: Option<String>,
}

impl Written {
    fn of(lines: usize, result: io::Result<()>, what: &dyn std::fmt::Display) -> Self {
        Self { lines, trouble: result.err().map(|error| format!("{what}: {error}")) }
    }
}

/// Something that takes lines. It may block; its thread has nothing else to do.
pub(super) trait Place: Send {
    /// Writes lines, which have no ends of lines.
    fn write(&mut self, lines: &[String]) -> Written;
}

/// Opens a place. Syslog is looked for with the first line: it may come up later.
pub(super) fn open(to: &LogTo) -> Outcome<Box<dyn Place>> {
    Ok(match to {
        LogTo::Journal => Box::new(Journal),
        LogTo::File(path) => Box::new(Appended::open(path)?),
        LogTo::Syslog => Box::new(Syslog::new(Local { path: LOCAL.into(), socket: None }, LOCAL.to_owned())),
        LogTo::SyslogUdp(address) => Box::new(Syslog::new(Udp(*address, None), to.to_string())),
        LogTo::SyslogTcp(address) => Box::new(Syslog::new(Tcp(*address, None), to.to_string())),
    })
}

/// With the daemon's own log.
struct Journal;

impl Place for Journal {
    fn write(&mut self, lines: &[String]) -> Written {
        for line in lines {
            tracing::info!(target: "flow", "{line}");
        }
        Written { lines: lines.len(), trouble: None }
    }
}

/// The end of a file, which is opened again when somebody has moved it away.
struct Appended {
    path: PathBuf,
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    looked: Instant,
}

impl Appended {
    fn open(path: &Path) -> Outcome<Self> {
        let help = |error: &io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "; the log is written without privileges: its folder has to belong to the user that xlat runs as, \
                 and systemd has to allow it (LogsDirectory=, ReadWritePaths=)"
            }
            io::ErrorKind::NotFound => "; its folder has to exist",
            _other => "",
        };
        let opened = append(path);
        let file = opened.map_err(|error| Failure::new(format!("{error}{}", help(&error))))?;
        let identity = identity(&file.metadata()?);
        Ok(Self { path: path.to_owned(), file, identity, looked: Instant::now() })
    }

    fn follow(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        let there = std::fs::metadata(&self.path).ok().map(|found| identity(&found));
        if there != Some(self.identity)
            && let Ok(opened) = Self::open(&self.path)
        {
            *self = opened;
        }
    }
}

/// Opens a file to be added to. Nothing but a file: a pipe could keep us waiting for ever.
fn append(path: &Path) -> io::Result<File> {
    const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

fn identity(file: &std::fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Place for Appended {
    fn write(&mut self, lines: &[String]) -> Written {
        self.follow();
        let mut text = lines.join("\n");
        text.push('\n');
        let result = self.file.write_all(text.as_bytes());
        let written = if result.is_ok() { lines.len() } else { 0 };
        Written::of(written, result, &self.path.display())
    }
}

/// A way to a syslog daemon.
trait Way: Send {
    /// Sends messages; gives how many, from the first on.
    fn send(&mut self, messages: &[String]) -> (usize, io::Result<()>);
}

/// A syslog daemon, by whichever way.
struct Syslog<W> {
    way: W,
    name: String,
    host: String,
    pause: Duration,
    /// Nothing is tried before.
    not_before: Option<Instant>,
}

impl<W: Way> Syslog<W> {
    fn new(way: W, name: String) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let legal = |c: char| c.is_ascii_graphic();
        let host = if !host.is_empty() && host.chars().all(legal) { host } else { "-".to_owned() };
        Self { way, name, host, pause: PAUSE, not_before: None }
    }

    fn message(&self, line: &str) -> String {
        let time = rfc3339(SystemTime::now());
        format!("<{PRIORITY}>1 {time} {} xlat {} flow - {line}", self.host, std::process::id())
    }
}

impl<W: Way> Place for Syslog<W> {
    fn write(&mut self, lines: &[String]) -> Written {
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return Written { lines: 0, trouble: None };
        }
        let messages: Vec<String> = lines.iter().map(|line| self.message(line)).collect();
        let (sent, result) = self.way.send(&messages);
        match &result {
            Ok(()) => (self.pause, self.not_before) = (PAUSE, None),
            Err(_) => {
                self.not_before = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
        Written::of(sent, result, &self.name)
    }
}

/// Sends one datagram for each message.
fn each(messages: &[String], mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> (usize, io::Result<()>) {
    for (sent, message) in messages.iter().enumerate() {
        if let Err(error) = send(message.as_bytes()) {
            return (sent, Err(error));
        }
    }
    (messages.len(), Ok(()))
}

/// The host's own, by its socket.
struct Local {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Way for Local {
    fn send(&mut self, messages: &[String]) -> (usize, io::Result<()>) {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = match self.socket.take().map_or_else(connect, Ok) {
            Ok(socket) => socket,
            Err(error) => return (0, Err(error)),
        };
        let outcome = each(messages, |message| socket.send(message));
        // Somebody else may answer there by now.
        self.socket = outcome.1.is_ok().then_some(socket);
        outcome
    }
}

/// One that takes datagrams.
struct Udp(SocketAddr, Option<UdpSocket>);

impl Way for Udp {
    fn send(&mut self, messages: &[String]) -> (usize, io::Result<()>) {
        let connect = || {
            let own: SocketAddr = match self.0 {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(own)?;
            socket.connect(self.0)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = match self.1.take().map_or_else(connect, Ok) {
            Ok(socket) => socket,
            Err(error) => return (0, Err(error)),
        };
        let outcome = each(messages, |message| socket.send(message));
        self.1 = outcome.1.is_ok().then_some(socket);
        outcome
    }
}

/// One that takes connections; each message has its length before it.
struct Tcp(SocketAddr, Option<TcpStream>);

impl Tcp {
    /// The connection, if the other side has not closed it.
    fn living(&mut self) -> Option<TcpStream> {
        let mut stream = self.1.take()?;
        stream.set_nonblocking(true).ok()?;
        // Nothing comes from there but the end.
        let open =
            matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).ok()?;
        open.then_some(stream)
    }
}

impl Way for Tcp {
    fn send(&mut self, messages: &[String]) -> (usize, io::Result<()>) {
        let address = self.0;
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let mut stream = match self.living().map_or_else(connect, Ok) {
            Ok(stream) => stream,
            Err(error) => return (0, Err(error)),
        };
        let framed: String = messages.iter().map(|message| format!("{} {message}", message.len())).collect();
        match stream.write_all(framed.as_bytes()) {
            Ok(()) => {
                self.1 = Some(stream);
                (messages.len(), Ok(()))
            }
            // Half a message may be there: this connection is of no use any more.
            Err(error) => (0, Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xlat-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_file_grows_and_may_be_moved_away() {
        let folder = folder("log-file");
        let path = folder.join("flows.log");
        let to = LogTo::File(path.clone());
        std::fs::write(&path, "before\n").unwrap();
        let mut place = open(&to).unwrap();
        assert_eq!(place.write(&lines(&["one", "two"])).lines, 2);
        std::fs::rename(&path, folder.join("flows.log.1")).unwrap();
        std::thread::sleep(LOOK);
        assert_eq!(place.write(&lines(&["three"])).lines, 1);
        assert_eq!(std::fs::read_to_string(folder.join("flows.log.1")).unwrap(), "before\none\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640 & !0o022);
        for (bad, says) in [
            (folder.clone(), "directory"),
            (folder.join("missing/flows.log"), "its folder has to exist"),
            (PathBuf::from("/dev/null"), "no regular file"),
        ] {
            let why = open(&LogTo::File(bad)).err().unwrap().to_string();
            assert!(why.contains(says), "{why}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The parts of a message that are not the same each time are cut out.
    fn shape(message: &str) -> String {
        let mut words: Vec<&str> = message.split(' ').collect();
        assert!(words[1].ends_with('Z') && words[1].len() == 27, "{message}");
        assert_eq!(words[4], std::process::id().to_string());
        (words[1], words[2], words[4]) = ("TIME", "HOST", "PID");
        words.join(" ")
    }

    #[test]
    fn syslog_by_datagrams() {
        let folder = folder("log-syslog");
        let path = folder.join("log");
        let mut place = Syslog::new(Local { path: path.clone(), socket: None }, "local".to_owned());
        let nobody = place.write(&lines(&["lost"]));
        assert_eq!(nobody.lines, 0);
        assert!(nobody.trouble.unwrap().contains("No such file"));
        let daemon = UnixDatagram::bind(&path).unwrap();
        assert_eq!(place.write(&lines(&["lost, too soon"])).lines, 0);
        place.not_before = None;
        assert_eq!(place.write(&lines(&["one", "two"])).lines, 2);
        let mut buffer = [0; 512];
        let length = daemon.recv(&mut buffer).unwrap();
        assert_eq!(shape(str::from_utf8(&buffer[..length]).unwrap()), "<30>1 TIME HOST xlat PID flow - one");
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut place = open(&LogTo::SyslogUdp(receiver.local_addr().unwrap())).unwrap();
        assert_eq!(place.write(&lines(&["three"])).lines, 1);
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(
            shape(str::from_utf8(&buffer[..length]).unwrap()),
            "<30>1 TIME HOST xlat PID flow - three"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn syslog_by_connections_comes_back() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut place = Syslog::new(Tcp(listener.local_addr().unwrap(), None), "tcp".to_owned());
        for round in ["one", "two"] {
            assert_eq!(place.write(&lines(&[round, "more"])).lines, 2);
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut buffer = [0; 512];
            let mut length = 0;
            while !buffer[..length].ends_with(b"more") {
                length += stream.read(&mut buffer[length..]).unwrap();
            }
            let text = str::from_utf8(&buffer[..length]).unwrap();
            let (size, rest) = text.split_once(' ').unwrap();
            let (first, second) = rest.split_at(size.parse().unwrap());
            assert_eq!(shape(first), format!("<30>1 TIME HOST xlat PID flow - {round}"));
            assert_eq!(shape(second.split_once(' ').unwrap().1), "<30>1 TIME HOST xlat PID flow - more");
            // The daemon closes the connection: the next line takes another one.
            drop(stream);
        }
        drop(listener);
        assert_eq!(place.write(&lines(&["lost"])).lines, 0);
    }

    /// A daemon that takes connections and never reads keeps the thread a second, not for ever.
    #[test]
    fn a_stuck_syslog_loses_lines() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut place = Syslog::new(Tcp(listener.local_addr().unwrap(), None), "tcp".to_owned());
        let many: Vec<String> = (0..64).map(|_| "x".repeat(65_536)).collect();
        let stuck = (0..16).find_map(|_| place.write(&many).trouble);
        assert!(stuck.is_some_and(|trouble| trouble.starts_with("tcp: ")));
    }
}
