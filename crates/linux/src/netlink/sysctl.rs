//! Reading and writing `/proc/sys/net`.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

const ROOT: &str = "/proc/sys/net";

/// The value of `net/<name>`, for example `ipv4/ip_forward`; without the line's end.
pub fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(path(name)?).map(|text| text.trim_end().to_owned())
}

/// Writes the value of `net/<name>`.
pub(super) fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name)?, value)
}

/// The interfaces that `family` (`ipv4` or `ipv6`) has settings for, without `all` and `default`.
pub(super) fn interfaces(family: &str) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(path(&format!("{family}/conf"))?)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "all" && name != "default")
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The file of a setting. Names come from a file too, the journal: none may lead out of `/proc/sys/net`.
fn path(name: &str) -> io::Result<PathBuf> {
    let name = Path::new(name);
    if !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no setting: {}", name.display())));
    }
    Ok(Path::new(ROOT).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() {
        for name in ["../kernel/hostname", "ipv4/../../kernel/hostname", "/etc/hostname", "./ipv4"] {
            assert!(path(name).is_err(), "{name}");
        }
        assert!(path("ipv4/conf/eth0.7/proxy_arp").is_ok());
    }
}
