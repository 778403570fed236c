//! What proxies put around messages on the wire when they share a key: who sent a message, which one of its own it is, when, and a code
//! that only a holder of the key can make (HMAC-SHA-256, cut to 128 bits as in RFC 4868). Nothing is hidden by it. Messages of
//! others, changed ones, and ones that came before are refused.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zerocopy::byteorder::network_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How every sealed message begins; the last byte is the version.
const MAGIC: [u8; 4] = *b"XLK\x01";
/// Bytes of the code behind a message.
const CODE: usize = 16;
/// A key file has at least so many characters, without white space at its ends.
const SHORTEST: usize = 32;
/// And at most so many bytes.
const LONGEST: u64 = 4096;
/// How far clocks of senders may differ from ours, the way of a message included.
const CLOCKS_MS: u64 = 30_000;
/// Messages that may overtake one of their sender.
const WINDOW: u64 = 64;
/// Senders of one time. Each has proved that it has the key.
const SENDERS: usize = 256;

/// The beginning of a sealed message.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    magic: [u8; 4],
    reserved: [u8; 4],
    /// Drawn by the sender when it starts.
    sender: [u8; 8],
    /// Its messages, from 1.
    number: U64,
    /// Milliseconds since 1970.
    time: U64,
}

/// Bytes that a seal adds.
pub(crate) const SEAL: usize = size_of::<Head>() + CODE;

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it has no seal: a proxy without key, or somebody else")]
    Open,
    #[error("it is not sealed with our key")]
    Forged,
    #[error("it came before")]
    Again,
    #[error("its sender's clock and ours differ by {0} s, or it was held back")]
    Clock(u64),
    #[error("too many senders")]
    Crowd,
}

/// A key, and what was seen of those who have it.
pub(crate) struct Key {
    mac: Hmac<Sha256>,
    sender: [u8; 8],
    number: u64,
    senders: HashMap<[u8; 8], Seen>,
}

/// What came of one sender.
struct Seen {
    highest: u64,
    /// The highest and the [`WINDOW`] − 1 before it, lowest bit first.
    came: u64,
    /// When it was made that came last; milliseconds since 1970.
    time: u64,
}

impl Key {
    /// From a file that nobody but its owner and its group can read.
    pub(crate) fn read(path: &str) -> io::Result<Self> {
        let refuse = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let file = File::open(path)?;
        if file.metadata()?.mode() & 0o007 != 0 {
            return refuse("everybody can read it: `chmod 640` it".to_owned());
        }
        let mut content = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut content)?;
        let key = content.trim_ascii();
        if key.len() < SHORTEST || content.len() as u64 > LONGEST {
            return refuse(format!("it does not have {SHORTEST} to {LONGEST} characters"));
        }
        let mut sender = [0; 8];
        rustix::rand::getrandom(&mut sender, rustix::rand::GetRandomFlags::empty())?;
        Self::new(key, sender)
    }

    fn new(key: &[u8], sender: [u8; 8]) -> io::Result<Self> {
        let mac = Hmac::new_from_slice(key).map_err(io::Error::other)?;
        Ok(Self { mac, sender, number: 0, senders: HashMap::new() })
    }

    /// A message as it goes over the wire.
    pub(crate) fn seal(&mut self, message: &[u8], now_ms: u64) -> Vec<u8> {
        self.number += 1;
        let (number, time) = (U64::new(self.number), U64::new(now_ms));
        let head = Head { magic: MAGIC, reserved: [0; 4], sender: self.sender, number, time };
        let mut sealed = [head.as_bytes(), message].concat();
        let code = self.mac.clone().chain_update(&sealed).finalize().into_bytes();
        sealed.extend(code.iter().take(CODE));
        sealed
    }

    /// The message inside what came over the wire.
    pub(crate) fn open<'a>(&mut self, sealed: &'a [u8], now_ms: u64) -> Result<&'a [u8], Refused> {
        let (signed, code) = sealed.split_last_chunk::<CODE>().ok_or(Refused::Open)?;
        let (head, message) = Head::ref_from_prefix(signed).map_err(|_| Refused::Open)?;
        if head.magic != MAGIC || head.reserved != [0; 4] {
            return Err(Refused::Open);
        }
        let check = self.mac.clone().chain_update(signed);
        check.verify_truncated_left(code).map_err(|_| Refused::Forged)?;
        let apart = now_ms.abs_diff(head.time.get());
        if apart > CLOCKS_MS {
            return Err(Refused::Clock(apart / 1000));
        }
        self.first_time(head, now_ms)?;
        Ok(message)
    }

    /// Notes that a message has come.
    fn first_time(&mut self, head: &Head, now_ms: u64) -> Result<(), Refused> {
        let (number, time) = (head.number.get(), head.time.get());
        if head.sender == self.sender {
            // Our own, sent back.
            return Err(Refused::Again);
        }
        if !self.senders.contains_key(&head.sender) {
            // Whatever they sent is too old by now, and would be refused for that.
            self.senders.retain(|_, seen| now_ms.abs_diff(seen.time) <= CLOCKS_MS);
            if self.senders.len() >= SENDERS {
                return Err(Refused::Crowd);
            }
        }
        let seen = self.senders.entry(head.sender).or_insert(Seen { highest: number, came: 0, time });
        let ahead = number.saturating_sub(seen.highest);
        seen.came = if ahead < WINDOW { seen.came << ahead } else { 0 };
        seen.highest = seen.highest.max(number);
        let behind = seen.highest - number;
        let bit = if behind < WINDOW { 1 << behind } else { 0 };
        if bit == 0 || seen.came & bit != 0 {
            return Err(Refused::Again);
        }
        seen.came |= bit;
        seen.time = seen.time.max(time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn keys() -> (Key, Key) {
        let key = |sender| Key::new(&[7; 32], [sender; 8]).unwrap();
        (key(1), key(2))
    }

    #[test]
    fn what_is_sealed_opens_once() {
        let (mut sender, mut receiver) = keys();
        let sealed = sender.seal(b"message", NOW);
        assert_eq!(sealed.len(), 7 + SEAL);
        assert_eq!(receiver.open(&sealed, NOW), Ok(&b"message"[..]));
        assert_eq!(receiver.open(&sealed, NOW), Err(Refused::Again));
        assert_eq!(sender.open(&sealed, NOW), Err(Refused::Again), "one's own");
        // Another one who has the key, and the same again when it is too old.
        let mut third = keys().1;
        assert_eq!(third.open(&sealed, NOW + CLOCKS_MS), Ok(&b"message"[..]));
        assert_eq!(keys().1.open(&sealed, NOW + CLOCKS_MS + 1), Err(Refused::Clock(30)));
        assert_eq!(keys().1.open(&sealed, NOW - CLOCKS_MS - 1), Err(Refused::Clock(30)));
    }

    #[test]
    fn another_key_or_none_does_not_open() {
        let (mut sender, mut receiver) = keys();
        let sealed = sender.seal(b"message", NOW);
        let mut other = Key::new(&[8; 32], [3; 8]).unwrap();
        assert_eq!(other.open(&sealed, NOW), Err(Refused::Forged));
        for open in [&b""[..], b"XLSS", &[0; 100]] {
            assert_eq!(receiver.open(open, NOW), Err(Refused::Open));
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(receiver.open(&changed, NOW).is_err(), "{at}");
            assert!(receiver.open(&sealed[..at], NOW).is_err(), "{at}");
        }
        assert!(receiver.open(&sealed, NOW).is_ok(), "nothing of that was taken for it");
    }

    #[test]
    fn messages_may_overtake_each_other_by_a_window() {
        let (mut sender, mut receiver) = keys();
        let all: Vec<_> = (0..200).map(|_| sender.seal(b"", NOW)).collect();
        for (at, expected) in [
            (99, Ok(())),
            (36, Ok(())),
            (35, Err(Refused::Again)),
            (36, Err(Refused::Again)),
            (199, Ok(())),
            (99, Err(Refused::Again)),
            (198, Ok(())),
            (198, Err(Refused::Again)),
        ] {
            assert_eq!(receiver.open(&all[at], NOW).map(drop), expected, "{at}");
        }
    }

    #[test]
    fn senders_are_bounded_and_make_room() {
        let mut receiver = keys().1;
        let mut from = |number: u64, now| {
            let sealed = Key::new(&[7; 32], (number + 9).to_be_bytes()).unwrap().seal(b"", now);
            receiver.open(&sealed, now).map(drop)
        };
        assert!((0..SENDERS as u64).all(|number| from(number, NOW).is_ok()));
        assert_eq!(from(SENDERS as u64, NOW), Err(Refused::Crowd));
        assert_eq!(from(SENDERS as u64, NOW + CLOCKS_MS + 1), Ok(()));
    }

    proptest! {
        /// However messages are repeated and shuffled, none is taken twice.
        #[test]
        fn never_twice(order in proptest::collection::vec(0..100usize, 0..400)) {
            let (mut sender, mut receiver) = keys();
            let all: Vec<_> = (0..100).map(|_| sender.seal(b"", NOW)).collect();
            let taken: Vec<_> = order.iter().filter(|at| receiver.open(&all[**at], NOW).is_ok()).collect();
            let mut once = taken.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(taken.len(), once.len());
        }
    }

    #[test]
    fn key_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("xlat-key-{}", std::process::id()));
        let read = |content: &[u8], mode| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let key = Key::read(path.to_str().unwrap());
            std::fs::remove_file(&path).unwrap();
            key
        };
        let text = b"0123456789abcdef0123456789abcdef";
        assert!(read(text, 0o640).is_ok());
        assert!(
            read(text, 0o644).is_err()
                && read(&text[1..], 0o600).is_err()
                && read(&[b'a'; 4097], 0o600).is_err()
        );
        // White space at the ends is no part of it.
        let mut with_newline = read(b"0123456789abcdef0123456789abcdef\n", 0o600).unwrap();
        let sealed = Key::new(text, [1; 8]).unwrap().seal(b"x", NOW);
        assert!(with_newline.open(&sealed, NOW).is_ok());
        assert!(Key::read("/nowhere/there").is_err());
    }
}
