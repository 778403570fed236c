//! Reading and writing `/proc/sys/net`.

use std::fs;
use std::io;
use std::path::PathBuf;

const ROOT: &str = "/proc/sys/net";

/// The value of `net/<name>`, for example `ipv4/ip_forward`; without the line's end.
pub fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(path(name)).map(|text| text.trim_end().to_owned())
}

/// Writes the value of `net/<name>`.
pub(super) fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name), value)
}

/// The interfaces that `family` (`ipv4` or `ipv6`) has settings for, without `all` and `default`.
pub(super) fn interfaces(family: &str) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(path(&format!("{family}/conf")))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "all" && name != "default")
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn path(name: &str) -> PathBuf {
    [ROOT, name].iter().collect()
}
