//! What translators tell each other of their sessions: messages, each the content of one UDP datagram, and how they go over a
//! stream. docs/session-sync.md has the format for readers. Whatever comes in may have been made by anybody.

use std::time::Duration;

use axum::body::Bytes;
use bytes::{Buf as _, BytesMut};
use ipnet::Ipv6Net;
use xlat_nat64::{Protocol, SessionInfo, TcpState, Timer, Transport4, Transport6};
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How every message begins.
const MAGIC: [u8; 4] = *b"XLSS";
/// The version of the format.
const VERSION: u8 = 1;
/// Longest message in bytes: what a UDP datagram carries.
pub const MESSAGE_MAX: usize = 65_507;
/// Most sessions in a message.
pub const SESSIONS_MAX: usize = 1700;

const _: () = assert!(size_of::<Head>() + SESSIONS_MAX * size_of::<Record>() <= MESSAGE_MAX);

/// The beginning of a message.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    magic: [u8; 4],
    version: u8,
    /// Of the sender's pool6, in bits.
    pool6_length: u8,
    /// Records that follow.
    count: U16,
    pool6: [u8; 16],
}

/// One session.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Record {
    client: [u8; 16],
    mask: [u8; 4],
    remote: [u8; 4],
    /// Milliseconds.
    expires_in: U32,
    client_port: U16,
    mask_port: U16,
    remote_port: U16,
    protocol: u8,
    state: u8,
    timer: u8,
    reserved: u8,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's pool6.
    pub pool6: Ipv6Net,
    /// At most [`SESSIONS_MAX`]; none is promoted.
    pub sessions: Vec<SessionInfo>,
}

/// Why something is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMessage {
    /// Something else was sent here.
    #[error("this is no message of a translator")]
    Foreign,
    /// By a release that writes another format.
    #[error("it has version {0} of the format, this program knows {VERSION}")]
    Version(u8),
    /// Too short or too long for the sessions that it says to have.
    #[error("its length does not fit its content")]
    Length,
    /// A value that means nothing.
    #[error("it says something that cannot be: {0}")]
    Value(&'static str),
}

const STATES: [TcpState; 7] = [
    TcpState::Established,
    TcpState::V6Init,
    TcpState::V4Init,
    TcpState::V4FinRcv,
    TcpState::V6FinRcv,
    TcpState::V4FinV6FinRcv,
    TcpState::Trans,
];
/// Held SYNs are not told of.
const TIMERS: [Timer; 4] = [Timer::Established, Timer::Transitory, Timer::Udp, Timer::Icmp];

fn place<T: PartialEq>(of: &T, among: &[T]) -> u8 {
    // The lists are short.
    among.iter().position(|other| other == of).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

impl Message {
    /// As it goes over the wire; sessions beyond [`SESSIONS_MAX`] are left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let sessions = self.sessions.get(..SESSIONS_MAX).unwrap_or(&self.sessions);
        let head = Head {
            magic: MAGIC,
            version: VERSION,
            pool6_length: self.pool6.prefix_len(),
            count: U16::new(u16::try_from(sessions.len()).unwrap_or(u16::MAX)),
            pool6: self.pool6.network().octets(),
        };
        let mut bytes = Vec::with_capacity(size_of::<Head>() + size_of_val(sessions));
        bytes.extend_from_slice(head.as_bytes());
        for session in sessions {
            bytes.extend_from_slice(Record::of(session).as_bytes());
        }
        bytes
    }

    /// Reads what came over the wire.
    ///
    /// # Errors
    ///
    /// For anything that [`Self::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoMessage> {
        let (head, rest) = Head::ref_from_prefix(bytes).map_err(|_| NoMessage::Foreign)?;
        if head.magic != MAGIC {
            return Err(NoMessage::Foreign);
        }
        if head.version != VERSION {
            return Err(NoMessage::Version(head.version));
        }
        let records = <[Record]>::ref_from_bytes(rest).map_err(|_| NoMessage::Length)?;
        if records.len() != usize::from(head.count.get()) || records.len() > SESSIONS_MAX {
            return Err(NoMessage::Length);
        }
        let pool6 = Ipv6Net::new(head.pool6.into(), head.pool6_length)
            .ok()
            .filter(|pool6| pool6.network() == pool6.addr())
            .ok_or(NoMessage::Value("pool6"))?;
        let sessions = records.iter().map(Record::session).collect::<Result<_, _>>()?;
        Ok(Self { pool6, sessions })
    }
}

impl Record {
    fn of(session: &SessionInfo) -> Self {
        Self {
            client: session.client.addr.octets(),
            mask: session.mask.addr.octets(),
            remote: session.remote.addr.octets(),
            expires_in: U32::new(u32::try_from(session.expires_in.as_millis()).unwrap_or(u32::MAX)),
            client_port: U16::new(session.client.port),
            mask_port: U16::new(session.mask.port),
            remote_port: U16::new(session.remote.port),
            protocol: session.protocol.index() as u8,
            state: place(&session.state.unwrap_or(TcpState::Established), &STATES),
            timer: place(&session.timer, &TIMERS),
            reserved: 0,
        }
    }

    fn session(&self) -> Result<SessionInfo, NoMessage> {
        let protocol =
            *Protocol::ALL.get(usize::from(self.protocol)).ok_or(NoMessage::Value("a protocol"))?;
        let state = *STATES.get(usize::from(self.state)).ok_or(NoMessage::Value("a TCP state"))?;
        let timer = *TIMERS.get(usize::from(self.timer)).ok_or(NoMessage::Value("a timer"))?;
        let fits = match timer {
            Timer::Udp => protocol == Protocol::Udp,
            Timer::Icmp => protocol == Protocol::Icmp,
            Timer::Established | Timer::Transitory | Timer::StoredSyn => protocol == Protocol::Tcp,
        };
        if !fits || self.reserved != 0 {
            return Err(NoMessage::Value("a timer of another protocol"));
        }
        Ok(SessionInfo {
            protocol,
            client: Transport6 { addr: self.client.into(), port: self.client_port.get() },
            mask: Transport4 { addr: self.mask.into(), port: self.mask_port.get() },
            remote: Transport4 { addr: self.remote.into(), port: self.remote_port.get() },
            state: (protocol == Protocol::Tcp).then_some(state),
            timer,
            expires_in: Duration::from_millis(self.expires_in.get().into()),
            promoted: false,
        })
    }
}

/// Cuts a stream into messages: each is preceded by its length in four bytes, network order.
#[derive(Debug, Default)]
pub struct Frames {
    pending: BytesMut,
}

impl Frames {
    /// A message as it goes into a stream.
    #[must_use]
    pub fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes(), message].concat()
    }

    /// What came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    ///
    /// [`NoMessage::Length`] for one that would be longer than any can be: nothing after it can be read.
    pub fn take(&mut self) -> Result<Option<Bytes>, NoMessage> {
        let Some((length, rest)) = self.pending.split_first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MESSAGE_MAX {
            return Err(NoMessage::Length);
        }
        if rest.len() < length {
            return Ok(None);
        }
        // Cut out, not copied: a stream may bring thousands of messages at once.
        self.pending.advance(size_of::<u32>());
        Ok(Some(self.pending.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session() -> impl Strategy<Value = SessionInfo> {
        let (six, four) = (any::<([u8; 16], u16)>(), any::<([u8; 4], u16)>());
        (six, four, any::<([u8; 4], u16)>(), 0..3usize, 0..7usize, any::<(bool, u32)>()).prop_map(
            |(client, mask, remote, protocol, state, (opening, millis))| {
                let protocol = Protocol::ALL[protocol];
                SessionInfo {
                    protocol,
                    client: Transport6 { addr: client.0.into(), port: client.1 },
                    mask: Transport4 { addr: mask.0.into(), port: mask.1 },
                    remote: Transport4 { addr: remote.0.into(), port: remote.1 },
                    state: (protocol == Protocol::Tcp).then_some(STATES[state]),
                    timer: match (protocol, opening) {
                        (Protocol::Tcp, false) => Timer::Established,
                        (Protocol::Tcp, true) => Timer::Transitory,
                        (Protocol::Udp, _) => Timer::Udp,
                        (Protocol::Icmp, _) => Timer::Icmp,
                    },
                    expires_in: Duration::from_millis(millis.into()),
                    promoted: false,
                }
            },
        )
    }

    fn message() -> impl Strategy<Value = Message> {
        let pool6 = "64:ff9b::/96".parse().unwrap();
        proptest::collection::vec(session(), 0..40).prop_map(move |sessions| Message { pool6, sessions })
    }

    proptest! {
        #[test]
        fn there_and_back(message in message()) {
            let bytes = message.encode();
            prop_assert_eq!(bytes.len(), 24 + 38 * message.sessions.len());
            prop_assert_eq!(Message::decode(&bytes), Ok(message));
        }

        /// Anything else is refused or read, and never more than it can be.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::decode(&bytes);
            let mut spoiled = Message { pool6: "64:ff9b::/96".parse().unwrap(), sessions: Vec::new() }.encode();
            spoiled.extend_from_slice(&bytes);
            prop_assert!(Message::decode(&spoiled).is_err() || bytes.is_empty());
        }

        /// However a stream is cut, the same messages come out.
        #[test]
        fn frames(messages in proptest::collection::vec(message(), 0..5), cut in 1..50usize) {
            let encoded: Vec<Vec<u8>> = messages.iter().map(Message::encode).collect();
            let stream: Vec<u8> = encoded.iter().flat_map(|one| Frames::framed(one)).collect();
            let (mut frames, mut out) = (Frames::default(), Vec::new());
            for piece in stream.chunks(cut) {
                frames.push(piece);
                while let Some(one) = frames.take().unwrap() {
                    out.push(one);
                }
            }
            prop_assert_eq!(out, encoded);
        }
    }

    #[test]
    fn messages_of_a_stream_stay_where_they_are() {
        let mut frames = Frames::default();
        frames.push(&Frames::framed(&[7; 100]).repeat(50));
        let places: Vec<_> = (0..50).map(|_| frames.take().unwrap().unwrap().as_ptr()).collect();
        assert!(places.windows(2).all(|pair| pair[0].wrapping_add(104) == pair[1]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let tcp = SessionInfo {
            protocol: Protocol::Tcp,
            client: Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 1 },
            mask: Transport4 { addr: "203.0.113.2".parse().unwrap(), port: 2 },
            remote: Transport4 { addr: "203.0.113.16".parse().unwrap(), port: 3 },
            state: Some(TcpState::Trans),
            timer: Timer::Transitory,
            expires_in: Duration::from_secs(1),
            promoted: false,
        };
        let good = Message { pool6: "64:ff9b::/96".parse().unwrap(), sessions: vec![tcp; 2] }.encode();
        let spoil = |at: usize, with: u8| {
            let mut bad = good.clone();
            bad[at] = with;
            Message::decode(&bad).unwrap_err()
        };
        assert_eq!(spoil(0, b'Y'), NoMessage::Foreign);
        assert_eq!(spoil(4, 2), NoMessage::Version(2));
        assert_eq!(spoil(5, 129), NoMessage::Value("pool6"));
        assert_eq!(spoil(5, 8), NoMessage::Value("pool6"), "bits beyond the length");
        assert_eq!(spoil(7, 1), NoMessage::Length);
        assert_eq!(spoil(7, 3), NoMessage::Length);
        assert_eq!(spoil(24 + 34, 3), NoMessage::Value("a protocol"));
        assert_eq!(spoil(24 + 35, 7), NoMessage::Value("a TCP state"));
        assert_eq!(spoil(24 + 36, 4), NoMessage::Value("a timer"));
        assert_eq!(spoil(24 + 36, 2), NoMessage::Value("a timer of another protocol"));
        for length in 0..good.len() {
            assert!(Message::decode(&good[..length]).is_err(), "{length}");
        }
        let mut frames = Frames::default();
        frames.push(&(u32::try_from(MESSAGE_MAX).unwrap() + 1).to_be_bytes());
        assert_eq!(frames.take(), Err(NoMessage::Length));
    }
}
