//! Who may talk to the daemon, and whom the client believes to be one: by the credentials that the kernel gives of the
//! process on the other side, since an abstract name can be taken by anybody.

use std::fs;

/// Members may use the API without being root.
const GROUP: &str = "xlat";

/// True for root, for the daemon's own user, and for members of the group.
pub(crate) fn may_control(uid: u32, gid: u32, own_uid: u32) -> bool {
    if uid == 0 || uid == own_uid {
        return true;
    }
    let (users, groups) = (read("/etc/passwd"), read("/etc/group"));
    is_member(uid, gid, &users, &groups)
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
    fn members_by_either_file() {
        let users = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n";
        let groups = "root:x:0:\nxlat:x:990:alice,carol\nxlatters:x:991:bob\n";
        assert!(is_member(1000, 1000, users, groups), "listed");
        assert!(is_member(1001, 990, users, groups), "primary group");
        assert!(!is_member(1001, 1001, users, groups));
        assert!(!is_member(1001, 991, users, groups), "another group with a similar name");
        assert!(!is_member(1000, 1000, users, "root:x:0:\n"), "no such group");
        assert!(!is_member(7, 7, "", ""));
        assert!(may_control(0, 0, 1) && may_control(5, 5, 5));
        assert!(may_serve(0, 7) && may_serve(7, 7) && !may_serve(8, 7));
    }
}
