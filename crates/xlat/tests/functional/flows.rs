//! Thousands of UDP flows held by the test itself: every datagram says whose it is, so a misdelivered one is seen.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use xlat_netlab::Namespace;

use crate::sockets::{mapped, udp, within};

/// Bytes of a datagram: number of the flow, number of the datagram.
const LEN: usize = 16;

/// What became of the datagrams of all flows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Sent by the clients.
    pub(crate) sent: u64,
    /// Come back to the client that sent it.
    pub(crate) answered: u64,
    /// Come back to somebody else, or changed.
    pub(crate) misdelivered: u64,
    /// Flows whose server sees another mask than at first.
    pub(crate) remapped: u64,
}

impl Tally {
    /// What has not come back.
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.answered
    }
}

/// Clients on one node, an echo server on another.
pub(crate) struct Flows {
    clients: Vec<UdpSocket>,
    target: SocketAddr,
    masks: Arc<Mutex<Vec<Option<SocketAddr>>>>,
    remapped: Arc<Mutex<u64>>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
    round: u64,
    tally: Tally,
}

impl Flows {
    /// Opens `count` sockets on `client`; `target` is the server's address for them.
    pub(crate) fn open(client: &Namespace, server: &Namespace, target: &str, count: usize) -> Self {
        const PORT: u16 = 7777;
        allow_files(count as u64 + 1000);
        let socket = udp(server, PORT);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let masks = Arc::new(Mutex::new(vec![None; count]));
        let remapped = Arc::new(Mutex::new(0));
        let server = std::thread::spawn({
            let (stop, masks, remapped) = (Arc::clone(&stop), Arc::clone(&masks), Arc::clone(&remapped));
            move || echo(&socket, &stop, &masks, &remapped)
        });
        let clients =
            within(client, || (0..count).map(|_| UdpSocket::bind("[::]:0").unwrap()).collect::<Vec<_>>());
        for client in &clients {
            client.set_nonblocking(true).unwrap();
        }
        let target = SocketAddr::new(mapped(target), PORT);
        let tally = Tally::default();
        Self { clients, target, masks, remapped, stop, server: Some(server), round: 0, tally }
    }

    /// One datagram of each flow, spread over `time`; then what came back is taken in.
    pub(crate) fn round(&mut self, time: Duration) {
        let begun = Instant::now();
        let count = self.clients.len();
        for flow in 0..count {
            let mut datagram = [0; LEN];
            datagram[..8].copy_from_slice(&(flow as u64).to_be_bytes());
            datagram[8..].copy_from_slice(&self.round.to_be_bytes());
            // What a full queue or an error message of the way refuses was never sent.
            if self.clients[flow].send_to(&datagram, self.target).is_ok() {
                self.tally.sent += 1;
            }
            if flow % 64 == 63 {
                let due = time.mul_f64(flow as f64 / count as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
                self.collect(flow.saturating_sub(2000)..flow);
            }
        }
        self.round += 1;
        self.collect(0..count);
    }

    /// Takes in what is still coming, and gives the sums.
    pub(crate) fn tally(&mut self) -> Tally {
        std::thread::sleep(Duration::from_millis(200));
        self.collect(0..self.clients.len());
        self.tally.remapped = *self.remapped.lock().unwrap();
        self.tally
    }

    /// Forgets the sums.
    pub(crate) fn reset(&mut self) {
        self.tally();
        self.tally = Tally::default();
        *self.remapped.lock().unwrap() = 0;
        self.masks.lock().unwrap().fill(None);
    }

    fn collect(&mut self, flows: std::ops::Range<usize>) {
        let mut datagram = [0; 64];
        for flow in flows {
            loop {
                match self.clients[flow].recv_from(&mut datagram) {
                    Ok((LEN, from))
                        if from == self.target && datagram[..8] == (flow as u64).to_be_bytes() =>
                    {
                        self.tally.answered += 1;
                    }
                    Ok(_) => self.tally.misdelivered += 1,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An ICMP error: the datagram counts as lost.
                    Err(_) => {}
                }
            }
        }
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn echo(
    socket: &UdpSocket,
    stop: &AtomicBool,
    masks: &Mutex<Vec<Option<SocketAddr>>>,
    remapped: &Mutex<u64>,
) {
    let mut datagram = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut datagram) else { continue };
        let flow = u64::from_be_bytes(datagram[..8].try_into().unwrap());
        if let Some(mask) = masks.lock().unwrap().get_mut(flow as usize) {
            let first = *mask.get_or_insert(from);
            if first != from {
                *remapped.lock().unwrap() += 1;
                *mask = Some(from);
            }
        }
        let _ = socket.send_to(&datagram[..length], from);
    }
}

/// Lets this process have more open files.
fn allow_files(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let maximum = limit.maximum.map(|maximum| maximum.max(count));
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).unwrap();
    }
}
