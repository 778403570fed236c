//! What a daemon writes down when it ends and the kernel goes on: all sessions and counters. The next one reads it, once.
//! What the kernel knows itself is not taken from here: it may have seen packets since.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xlat_config::{Config, Translator};
use xlat_engine::{Engine, Statistics};
use xlat_linux::clock;
use xlat_linux::netlink::default_journal_directory;
use xlat_nat64::{Cursor, Protocol, SessionInfo, TcpState, Timer, Transport4, Transport6};

use crate::failure::{Failure, Outcome};

/// `O_NONBLOCK`.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
/// The version of the file's content.
const VERSION: u32 = 2;
/// Sessions of a part of the file.
const PART: usize = 1024;
/// Longest part in bytes.
const PART_BYTES: u32 = 1 << 20;

/// The file of a device in a network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    path: Option<PathBuf>,
}

/// How the file begins.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    version: u32,
    boot: String,
    namespace: u64,
    cookie: u64,
    /// Milliseconds of the clock when it was written.
    written: u64,
    /// Counters by name, those of the instances left out.
    statistics: Vec<(String, u64)>,
}

/// The rest of the file.
#[derive(Debug, Serialize, Deserialize)]
enum Part {
    /// Sessions of the instance with this name.
    Sessions(String, Vec<Session>),
    End,
    /// Counters, by name, of the instance with this name, stateful or not.
    Counters(String, bool, Vec<(String, u64)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    protocol: u8,
    client: (u128, u16),
    mask: (u32, u16),
    remote: (u32, u16),
    state: Option<u8>,
    timer: u8,
    /// Milliseconds.
    expires_in: u64,
}

impl Snapshot {
    /// The one of a device in this network namespace.
    pub(crate) fn of(device: &str, state_dir: Option<&Path>) -> Self {
        let folder = state_dir.map_or_else(default_journal_directory, Path::to_owned);
        let path = clock::netns_inode().ok();
        Self { path: path.map(|inode| folder.join(format!("{inode}-{device}.sessions"))) }
    }

    /// Writes all sessions and counters, or, where there is no room for them, nothing.
    pub(super) fn write(&self, engine: &Engine, config: &Config) -> Outcome {
        let path = self.path()?;
        let new = unfinished(path);
        let done = write_to(&new, engine, config).and_then(|()| Ok(fs::rename(&new, path)?));
        if done.is_err() {
            // Half a file is of no use, and takes the room that the journal needs.
            remove(&new);
        }
        done
    }

    /// Puts back what was written in this namespace since the host was started, and removes the file; gives how many
    /// sessions that were.
    pub(super) fn restore(&self, engine: &Engine) -> Outcome<u64> {
        let path = self.path()?;
        // Of a daemon that was killed while it wrote.
        remove(&unfinished(path));
        // Without waiting for a writer, should somebody have put a pipe there.
        let file = match File::options().read(true).custom_flags(NONBLOCK).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            file => file?,
        };
        if !file.metadata()?.is_file() {
            return Err(Failure::new(format!("{} is no file", path.display())));
        }
        // Whatever becomes of it: a second time it would be old.
        self.remove();
        let mut file = BufReader::new(file);
        let written: Head = get(&mut file)?;
        let here = head(Vec::new())?;
        if written.version != VERSION {
            return Err(Failure::new(format!("they have version {}, not {VERSION}", written.version)));
        }
        if (&written.boot, written.namespace, written.cookie) != (&here.boot, here.namespace, here.cookie) {
            return Ok(0);
        }
        let counted = |named: &[(String, u64)]| {
            Statistics::from_named(named.iter().map(|(name, count)| (name.as_str(), *count)))
        };
        engine.add_statistics(&counted(&written.statistics));
        let passed = Duration::from_millis(here.written.saturating_sub(written.written));
        let mut count = 0;
        loop {
            match get(&mut file)? {
                Part::Sessions(instance, sessions) => {
                    let sessions = sessions.iter().filter_map(|session| session.restored(passed));
                    count += engine.restore(&instance, sessions, clock::now_ms()).restored;
                }
                Part::Counters(instance, stateful, named) => {
                    let kind = if stateful { Translator::Nat64 } else { Translator::Siit };
                    match engine.view(kind, &instance) {
                        Some(view) => view.add_statistics(&counted(&named)),
                        // Of an instance that is no more: the daemon's sum goes on.
                        None => engine.add_statistics(&counted(&named)),
                    }
                }
                Part::End => return Ok(count),
            }
        }
    }

    /// Removes the file, if it is there.
    pub(crate) fn remove(&self) {
        if let Some(path) = &self.path {
            remove(path);
            remove(&unfinished(path));
        }
    }

    fn path(&self) -> Outcome<&Path> {
        self.path.as_deref().ok_or_else(|| Failure::new("this network namespace cannot be told"))
    }
}

/// Where it is written, until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "cannot remove the sessions that were written down");
    }
}

fn write_to(path: &Path, engine: &Engine, config: &Config) -> Outcome {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut out = BufWriter::new(file);
    let named = |counted: &Statistics| -> Vec<(String, u64)> {
        counted.named().map(|(name, count)| (name.to_owned(), count)).collect()
    };
    let mut others = engine.statistics();
    let mut own = Vec::new();
    for instance in &config.instances {
        let kind = instance.kind.translator();
        let Some(view) = engine.view(kind, &instance.name) else { continue };
        let counted = view.statistics();
        others.subtract(&counted);
        own.push(Part::Counters(instance.name.clone(), kind == Translator::Nat64, named(&counted)));
    }
    put(&mut out, &head(named(&others))?)?;
    own.iter().try_for_each(|part| put(&mut out, part))?;
    for instance in &config.instances {
        let Some(view) = engine.view(instance.kind.translator(), &instance.name) else { continue };
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let mut sessions = Vec::with_capacity(PART);
            cursor = view.sessions(from, PART, &mut sessions);
            let sessions = sessions.iter().map(Session::from).collect();
            put(&mut out, &Part::Sessions(instance.name.clone(), sessions))?;
        }
    }
    put(&mut out, &Part::End)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

fn head(statistics: Vec<(String, u64)>) -> Outcome<Head> {
    Ok(Head {
        version: VERSION,
        boot: clock::boot_id()?,
        namespace: clock::netns_inode()?,
        cookie: clock::netns_cookie()?,
        written: clock::now_ms(),
        statistics,
    })
}

fn put(out: &mut impl io::Write, part: &impl Serialize) -> Outcome {
    let bytes = postcard::to_stdvec(part)?;
    let len = u32::try_from(bytes.len())?;
    out.write_all(&len.to_le_bytes())?;
    Ok(out.write_all(&bytes)?)
}

fn get<T: for<'de> Deserialize<'de>>(file: &mut impl io::Read) -> Outcome<T> {
    let mut len = [0; 4];
    file.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > PART_BYTES {
        return Err(Failure::new("the file is damaged"));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes)?;
    Ok(postcard::from_bytes(&bytes)?)
}

impl From<&SessionInfo> for Session {
    fn from(info: &SessionInfo) -> Self {
        Self {
            protocol: info.protocol as u8,
            client: (info.client.addr.to_bits(), info.client.port),
            mask: (info.mask.addr.to_bits(), info.mask.port),
            remote: (info.remote.addr.to_bits(), info.remote.port),
            state: info.state.map(|state| state as u8),
            timer: info.timer as u8,
            expires_in: u64::try_from(info.expires_in.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Session {
    /// The session, `passed` later; `None` if the numbers mean nothing.
    fn restored(&self, passed: Duration) -> Option<SessionInfo> {
        const STATES: [TcpState; 7] = [
            TcpState::Established,
            TcpState::V6Init,
            TcpState::V4Init,
            TcpState::V4FinRcv,
            TcpState::V6FinRcv,
            TcpState::V4FinV6FinRcv,
            TcpState::Trans,
        ];
        const TIMERS: [Timer; 5] =
            [Timer::Established, Timer::Transitory, Timer::Udp, Timer::Icmp, Timer::StoredSyn];
        let state = |number: u8| STATES.into_iter().find(|state| *state as u8 == number);
        Some(SessionInfo {
            protocol: *Protocol::ALL.get(usize::from(self.protocol))?,
            client: Transport6 { addr: self.client.0.into(), port: self.client.1 },
            mask: Transport4 { addr: self.mask.0.into(), port: self.mask.1 },
            remote: Transport4 { addr: self.remote.0.into(), port: self.remote.1 },
            state: match self.state {
                Some(number) => Some(state(number)?),
                None => None,
            },
            timer: TIMERS.into_iter().find(|timer| *timer as u8 == self.timer)?,
            expires_in: Duration::from_millis(self.expires_in).saturating_sub(passed),
            promoted: false,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's helpers")]

    use std::os::unix::fs::symlink;

    use xlat_engine::EngineOptions;
    use xlat_translate::policy::Hops;
    use xlat_translate::refused::HostAddresses;

    use super::*;

    #[test]
    fn no_room_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("xlat-snapshot-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let config = Config::default();
        let options = EngineOptions {
            hops: Hops::Restore,
            mtu4: 1500,
            mtu6: 1500,
            secret: [0; 16],
            shards: 1,
            flows: None,
            peers: None,
        };
        let engine = Engine::new(&config, HostAddresses::default(), options).unwrap();
        let snapshot = Snapshot::of("xs0", Some(&folder));
        let path = snapshot.path().unwrap();
        symlink("/dev/full", unfinished(path)).unwrap();
        assert!(snapshot.write(&engine, &config).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

        // Of a daemon that was killed while it wrote.
        fs::write(unfinished(path), "half").unwrap();
        assert_eq!(snapshot.restore(&engine).unwrap(), 0);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(folder).unwrap();
    }
}
