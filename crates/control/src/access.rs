//! Who may talk to the daemon, and whom the client believes to be one: by the credentials that the kernel gives of the
//! process on the other side, since an abstract name can be taken by anybody.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// Members may use the API without being root.
const GROUP: &str = "xlat";

/// The files that say who is a member.
const FILES: [&str; 2] = ["/etc/passwd", "/etc/group"];
/// Answers that are remembered.
const REMEMBERED: usize = 1024;

/// Who is a member, as far as it was asked: anybody may knock, and must not make the daemon read files each time.
#[derive(Debug, Default)]
pub(crate) struct Members {
    known: HashMap<(u32, u32), bool>,
    /// What the files were when that was found out.
    of: Option<[Stamp; 2]>,
}

/// Tells one state of a file from another: device, inode, length, time of the last change. `None`: no file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(path: &str) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
}

impl Members {
    /// True for root, for the daemon's own user, and for members of the group.
    pub(crate) fn may_control(&mut self, uid: u32, gid: u32, own_uid: u32) -> bool {
        uid == 0
            || uid == own_uid
            || self.remembers((uid, gid), FILES.map(stamp), || {
                let [users, groups] = FILES.map(read);
                is_member(uid, gid, &users, &groups)
            })
    }

    /// What is known of the files as they are, or what is found out now.
    fn remembers(&mut self, who: (u32, u32), now: [Stamp; 2], find_out: impl FnOnce() -> bool) -> bool {
        if self.of != Some(now) || self.known.len() >= REMEMBERED {
            self.known.clear();
            self.of = Some(now);
        }
        *self.known.entry(who).or_insert_with(find_out)
    }
}

/// True for root and the client's own user: whom a client asks.
pub(crate) fn may_serve(uid: u32, own_uid: u32) -> bool {
    uid == 0 || uid == own_uid
}

fn read(path: &str) -> String {
    // A host without users has no group either.
    fs::read_to_string(path).unwrap_or_default()
}

/// Whether the files (passwd(5), group(5)) make the user a member of the group.
fn is_member(uid: u32, gid: u32, users: &str, groups: &str) -> bool {
    let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let Some(group) =
        groups.lines().map(fields).find(|group| group.first().is_some_and(|name| name == GROUP))
    else {
        return false;
    };
    if group.get(2).and_then(|number| number.parse().ok()) == Some(gid) {
        return true;
    }
    let user =
        users.lines().map(fields).find(|user| user.get(2).and_then(|own| own.parse().ok()) == Some(uid));
    let Some(name) = user.as_ref().and_then(|user| user.first()) else { return false };
    group.get(3).is_some_and(|members| members.split(',').any(|member| member == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_again_when_they_have_changed() {
        let mut members = Members::default();
        let mut read = 0;
        let mut ask = |who, length: u64, is_member| {
            let now = [Some((1, 1, length, 0, 0)), None];
            members.remembers(who, now, || {
                read += 1;
                is_member
            })
        };
        assert!(!ask((7, 7), 10, false) && !ask((7, 7), 10, true), "known");
        assert!(ask((7, 8), 10, true) && !ask((7, 7), 10, true));
        assert!(ask((7, 7), 11, true) && ask((7, 7), 11, false), "changed");
        assert!((0..3 * REMEMBERED as u32).all(|uid| ask((uid, 9), 11, true)));
        assert_eq!(read, 3 + 3 * REMEMBERED);
        assert!(members.known.len() <= REMEMBERED);
    }

    #[test]
    fn members_by_either_file() {
        let users = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n";
        let groups = "root:x:0:\nxlat:x:990:alice,carol\nxlatters:x:991:bob\n";
        assert!(is_member(1000, 1000, users, groups), "listed");
        assert!(is_member(1001, 990, users, groups), "primary group");
        assert!(!is_member(1001, 1001, users, groups));
        assert!(!is_member(1001, 991, users, groups), "another group with a similar name");
        assert!(!is_member(1000, 1000, users, "root:x:0:\n"), "no such group");
        assert!(!is_member(7, 7, "", ""));
        let mut members = Members::default();
        assert!(members.may_control(0, 0, 1) && members.may_control(5, 5, 5));
        assert!(may_serve(0, 7) && may_serve(7, 7) && !may_serve(8, 7));
    }
}
