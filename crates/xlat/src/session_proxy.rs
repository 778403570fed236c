//! `session proxy`, and `joold` under its old name: carries messages about sessions between the daemon and the other translators
//! of a multicast group (cli 12.3), sealed where they share a key. It looks into none of them: the daemon at the other end does.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant, SystemTime};

use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use xlat_control::sync::MESSAGE_MAX;
use xlat_control::{Client, ClientError, Received};

use crate::session_key::{Key, Refused, SEAL};

/// How long nothing is tried after the daemon has gone.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of datagrams that may wait to be read, if the host allows so many.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Messages that may wait for the daemon.
const WAITING: usize = 1024;
/// The same complaint is made once in this time.
const QUIET: Duration = Duration::from_secs(60);
/// EINVAL.
const INVALID: i32 = 22;

/// What the command line or the files of `joold` say. What is not given is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) group: Option<String>,
    pub(crate) port: Option<String>,
    pub(crate) device_in: Option<String>,
    pub(crate) device_out: Option<String>,
    pub(crate) ttl: u32,
    pub(crate) key_file: Option<String>,
    pub(crate) statistics: Option<Statistics>,
}

/// Where counters are given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) address: String,
    pub(crate) port: String,
}

impl Statistics {
    pub(crate) fn new(address: Option<String>, port: Option<String>) -> Self {
        Self {
            address: address.unwrap_or_else(|| "::".to_owned()),
            port: port.unwrap_or_else(|| "6401".to_owned()),
        }
    }
}

impl Proxy {
    pub(crate) fn port(&self) -> &str {
        self.port.as_deref().unwrap_or("6400")
    }

    /// Joins the group.
    pub(crate) fn open(&self) -> Result<Sockets, Trouble> {
        Sockets::open(self).inspect_err(|trouble| log(Severity::Error, &trouble.what))
    }
}

/// Why it cannot begin: errno, or the resolver's negative number.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) code: i32,
    pub(crate) what: String,
}

impl Trouble {
    fn new(code: i32, what: impl fmt::Display) -> Self {
        Self { code, what: what.to_string() }
    }

    fn io(what: &str) -> impl Fn(io::Error) -> Self + '_ {
        move |error| Self::new(error.raw_os_error().unwrap_or(INVALID), format!("{what}: {error}"))
    }
}

/// The first address of a name and a service.
fn resolve(name: &str, service: &str) -> Result<SocketAddr, Trouble> {
    let hints = AddrInfoHints { socktype: SockType::DGram.into(), ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(name), Some(service), Some(hints));
    let mut found = found.map_err(|error| {
        Trouble::new(error.error_num(), format!("{name} port {service}: {}", io::Error::from(error)))
    })?;
    let first = found.find_map(Result::ok);
    first.map(|found| found.sockaddr).ok_or_else(|| Trouble::new(INVALID, format!("{name} has no address")))
}

/// A member of the group.
pub(crate) struct Sockets {
    pub(crate) group: SocketAddr,
    receive: UdpSocket,
    send: UdpSocket,
    statistics: Option<UdpSocket>,
    key: RefCell<Option<Key>>,
    complained: Cell<Option<Instant>>,
}

impl Sockets {
    fn open(proxy: &Proxy) -> Result<Self, Trouble> {
        let read = |file: &String| Key::read(file).map_err(Trouble::io(file));
        let key = RefCell::new(proxy.key_file.as_ref().map(read).transpose()?);
        let absent = || Trouble::new(INVALID, "the multicast address is mandatory");
        let mut group = resolve(proxy.group.as_deref().ok_or_else(absent)?, proxy.port())?;
        if !group.ip().is_multicast() {
            return Err(Trouble::new(INVALID, format!("{} is no multicast address", group.ip())));
        }
        let receive = receiving(&mut group, proxy.device_in.as_deref())?;
        let send = sending(group, proxy.device_out.as_deref(), proxy.ttl)?;
        let statistics = proxy.statistics.as_ref().map(|at| {
            let address = resolve(&at.address, &at.port)?;
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
                .map_err(Trouble::io("the statistics socket"))?;
            socket.bind(&address.into()).map_err(Trouble::io("the statistics address"))?;
            finish(socket)
        });
        Ok(Self {
            group,
            receive,
            send,
            statistics: statistics.transpose()?,
            key,
            complained: Cell::new(None),
        })
    }

    /// Carries messages for ever; an error is that the daemon is not there at the start.
    pub(crate) async fn carry(&self, client: &Client, instance: &str) -> Result<(), ClientError> {
        let received = client.messages(instance).await?;
        log(Severity::Info, &format!("carrying sessions of instance {instance} to and from {}", self.group));
        if self.key.borrow().is_none() {
            let what =
                "there is no key: anybody on this link can make and end sessions (docs/session-sync.md)";
            log(Severity::Warning, what);
        }
        let counts = Counts::default();
        tokio::join!(
            outward(client, instance, received, self, &counts),
            inward(client, instance, self, &counts),
            answer(self, &counts),
        );
        Ok(())
    }

    async fn send(&self, message: &[u8]) -> io::Result<usize> {
        let sealed = self.key.borrow_mut().as_mut().map(|key| key.seal(message, now_ms()));
        self.send.send_to(sealed.as_deref().unwrap_or(message), self.group).await
    }

    /// The message in a datagram, unless it is refused.
    fn unseal(&self, datagram: &[u8], counts: &Counts) -> Option<Vec<u8>> {
        let mut key = self.key.borrow_mut();
        let Some(key) = key.as_mut() else { return Some(datagram.to_vec()) };
        match key.open(datagram, now_ms()) {
            Ok(message) => Some(message.to_vec()),
            Err(why) => {
                count(&counts.refused, datagram.len());
                // Networks may send a datagram twice.
                let worth_a_word =
                    why != Refused::Again && self.complained.get().is_none_or(|at| at.elapsed() >= QUIET);
                if worth_a_word {
                    self.complained.set(Some(Instant::now()));
                    log(Severity::Warning, &format!("a message is refused: {why}"));
                }
                None
            }
        }
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn socket(group: SocketAddr) -> Result<Socket, Trouble> {
    Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP)).map_err(Trouble::io("socket"))
}

fn finish(socket: Socket) -> Result<UdpSocket, Trouble> {
    socket.set_nonblocking(true).map_err(Trouble::io("socket"))?;
    UdpSocket::from_std(socket.into()).map_err(Trouble::io("socket"))
}

/// The address of an interface, for IPv4.
fn address(device: Option<&str>) -> Result<Ipv4Addr, Trouble> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| Trouble::new(INVALID, format!("'{text}' is no IPv4 address of an interface")))
    };
    device.map_or(Ok(Ipv4Addr::UNSPECIFIED), parse)
}

/// The index of an interface, for IPv6; 0 lets the kernel choose.
fn index(socket: &Socket, device: Option<&str>) -> Result<u32, Trouble> {
    let find = |name: &str| {
        rustix::net::netdevice::name_to_index(socket, name)
            .map_err(|error| Trouble::new(error.raw_os_error(), format!("interface '{name}': {error}")))
    };
    device.map_or(Ok(0), find)
}

/// Hears the group, and nothing that is sent to this host alone.
fn receiving(group: &mut SocketAddr, device: Option<&str>) -> Result<UdpSocket, Trouble> {
    let socket = socket(*group)?;
    socket.set_reuse_address(true).map_err(Trouble::io("SO_REUSEADDR"))?;
    // Less is enough unless many sessions come at once.
    let _as_much_as_there_is = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let join = Trouble::io("joining the group");
    match group.ip() {
        IpAddr::V4(ip) => {
            socket.bind(&(*group).into()).map_err(Trouble::io("bind"))?;
            socket.set_multicast_all_v4(false).map_err(&join)?;
            socket.join_multicast_v4(&ip, &address(device)?).map_err(&join)?;
        }
        IpAddr::V6(ip) => {
            let index = index(&socket, device)?;
            *group = SocketAddrV6::new(ip, group.port(), 0, index).into();
            socket.bind(&(*group).into()).map_err(Trouble::io("bind"))?;
            socket.set_multicast_all_v6(false).map_err(&join)?;
            socket.join_multicast_v6(&ip, index).map_err(&join)?;
        }
    }
    finish(socket)
}

fn sending(group: SocketAddr, device: Option<&str>, ttl: u32) -> Result<UdpSocket, Trouble> {
    let socket = socket(group)?;
    let set = Trouble::io("the outgoing socket");
    if group.is_ipv4() {
        socket.set_multicast_loop_v4(false).map_err(&set)?;
        socket.set_multicast_ttl_v4(ttl).map_err(&set)?;
        socket.set_multicast_if_v4(&address(device)?).map_err(&set)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).map_err(&set)?;
    } else {
        socket.set_multicast_loop_v6(false).map_err(&set)?;
        socket.set_multicast_hops_v6(ttl).map_err(&set)?;
        socket.set_multicast_if_v6(index(&socket, device)?).map_err(&set)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).map_err(&set)?;
    }
    finish(socket)
}

/// Messages and bytes.
#[derive(Default)]
struct Counts {
    from_daemon: [Cell<u64>; 2],
    received: [Cell<u64>; 2],
    sent: [Cell<u64>; 2],
    refused: [Cell<u64>; 2],
}

fn count(counts: &[Cell<u64>; 2], bytes: usize) {
    counts[0].set(counts[0].get() + 1);
    counts[1].set(counts[1].get() + bytes as u64);
}

/// From the daemon to the group; waits for the daemon if it goes.
async fn outward(client: &Client, instance: &str, first: Received, sockets: &Sockets, counts: &Counts) {
    let mut received = Some(first);
    loop {
        while let Some(messages) = &mut received
            && let Ok(Some(message)) = messages.next().await
        {
            count(&counts.from_daemon, message.len());
            match sockets.send(&message).await {
                Ok(bytes) => count(&counts.sent, bytes),
                Err(error) => log(Severity::Error, &format!("a message was not sent: {error}")),
            }
        }
        tokio::time::sleep(PAUSE).await;
        received = client.messages(instance).await.ok();
        if received.is_some() {
            log(Severity::Info, "the daemon is there again");
        }
    }
}

/// From the group to the daemon. What comes while there is none, or too fast for it, is lost.
async fn inward(client: &Client, instance: &str, sockets: &Sockets, counts: &Counts) {
    let (mut messages, mut bringing) = bring(client, instance);
    let mut buffer = vec![0; MESSAGE_MAX + SEAL + 1];
    loop {
        tokio::select! {
            arrived = sockets.receive.recv_from(&mut buffer) => match arrived {
                Ok((length, _)) => {
                    count(&counts.received, length);
                    let message = buffer.get(..length).and_then(|datagram| sockets.unseal(datagram, counts));
                    // Lost, if there is no room: the next packets of the sessions tell of them again.
                    let _sent = message.map(|message| messages.try_send(message));
                }
                Err(error) => {
                    log(Severity::Error, &format!("nothing can be received: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            },
            _ended = &mut bringing => {
                tokio::time::sleep(PAUSE).await;
                (messages, bringing) = bring(client, instance);
            }
        }
    }
}

/// A stream to the daemon, on its own.
fn bring(client: &Client, instance: &str) -> (mpsc::Sender<Vec<u8>>, tokio::task::JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (client, instance) = (client.clone(), instance.to_owned());
    let task = tokio::spawn(async move {
        if let Err(error) = client.bring(&instance, receiver).await {
            log(Severity::Error, &format!("the daemon takes no messages: {error}"));
        }
    });
    (sender, task)
}

/// Gives the counters to whoever sends a datagram.
async fn answer(sockets: &Sockets, counts: &Counts) {
    let Some(socket) = &sockets.statistics else { return };
    let mut question = [0; 16];
    loop {
        let Ok((_, from)) = socket.recv_from(&mut question).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let rows = [
            ("KERNEL_SENT", &counts.from_daemon),
            ("NET_RCVD", &counts.received),
            ("NET_SENT", &counts.sent),
            ("NET_REFUSED", &counts.refused),
        ];
        // Jool knows the first three.
        let shown = rows.len() - usize::from(sockets.key.borrow().is_none());
        let mut text = String::new();
        for (name, [packets, bytes]) in rows.into_iter().take(shown) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}_PKTS,{}\n{name}_BYTES,{}", packets.get(), bytes.get());
        }
        if let Err(error) = socket.send_to(text.as_bytes(), from).await {
            log(Severity::Error, &format!("the counters were not sent: {error}"));
        }
    }
}

/// syslog(3), of facility daemon.
#[derive(Clone, Copy)]
enum Severity {
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// A line for the host's syslog daemon, if there is one.
fn log(severity: Severity, text: &str) {
    let line = format!("<{}>joold[{}]: {text}", 3 << 3 | severity as u8, std::process::id());
    if let Ok(socket) = UnixDatagram::unbound() {
        // As syslog(3): nobody listening is no reason to stop, nor to wait.
        let _unheard =
            socket.set_nonblocking(true).and_then(|()| socket.send_to(line.as_bytes(), "/dev/log"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        let (group, port, device_in, device_out, statistics) = Default::default();
        Proxy { group, port, device_in, device_out, ttl: 1, key_file: None, statistics }
    }

    #[tokio::test]
    async fn what_cannot_be_opened_has_a_number() {
        let code = |proxy: &Proxy| Sockets::open(proxy).err().map(|trouble| trouble.code);
        let group = |group: &str| Proxy { group: Some(group.to_owned()), ..proxy() };
        assert_eq!(code(&proxy()), Some(22));
        assert_eq!(code(&group("192.0.2.1")), Some(22));
        let unknown = Proxy { port: Some("no-such-service".to_owned()), ..group("239.0.0.1") };
        assert_eq!(code(&unknown), Some(-8));
        let device = |device: &str, of: Proxy| Proxy { device_in: Some(device.to_owned()), ..of };
        assert_eq!(code(&device("eth0", group("239.0.0.1"))), Some(22));
        assert_eq!(code(&device("no-such-dev", group("ff08::1"))), Some(19));
    }
}
