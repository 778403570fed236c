//! `joold NETSOCKET.json MODSOCKET.json [STATS_PORT]`, the old name of `session proxy` (cli 14, config 10).

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};
use xlat_control::{Client, DEFAULT_DEVICE};

use super::fail::Fail;
use crate::session_proxy::{Proxy, Statistics};

/// Greatest TTL that a file may have.
const TTL_MAX: u64 = 256;

/// Runs it, without the program's name.
pub(crate) fn main(words: &[String]) -> ExitCode {
    super::ended(run(words))
}

fn run(words: &[String]) -> Result<(), Fail> {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "Warning: joold is deprecated. See `jool session proxy --help`.");
    let [net, module, rest @ ..] = words else {
        return Err(failed("Not enough arguments.", 22));
    };
    let statistics = rest.first().map(|port| Statistics::new(None, Some(port.clone())));
    let proxy = Proxy { statistics, ..net_socket(net)? };
    let instance = mod_socket(module)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error.to_string(), 1))?;
    let client = Client::new(DEFAULT_DEVICE, rustix::process::geteuid().as_raw());
    runtime.block_on(super::session::carry(&proxy, &client, &instance, &mut io::stdout()))
}

fn failed(text: &str, code: u8) -> Fail {
    Fail { stderr: format!("{text}\n"), code, ..Fail::default() }
}

/// A file with what it says; messages begin with its name.
struct File<'a> {
    name: &'a str,
    root: Map<String, Value>,
}

impl<'a> File<'a> {
    fn read(name: &'a str) -> Result<Self, Fail> {
        let content = std::fs::read_to_string(Path::new(name)).map_err(|error| {
            let code = error.raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(1);
            failed(&format!("{name}: {error}"), code)
        })?;
        match serde_json::from_str(&content) {
            Ok(Value::Object(root)) => Ok(Self { name, root }),
            Ok(_) => Err(failed(&format!("{name}: the root of the file is not an object"), 22)),
            Err(error) => Err(failed(&format!("{name}: {error}"), 1)),
        }
    }

    fn find(&self, key: &str) -> Option<&Value> {
        self.root.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> Result<Option<String>, Fail> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(failed(&format!("{}: '{key}' is not a string", self.name), 22)),
        }
    }
}

fn net_socket(name: &str) -> Result<Proxy, Fail> {
    let file = File::read(name)?;
    let ttl = match file.find("ttl") {
        None => 1,
        Some(value) => {
            let number =
                value.as_i64().ok_or_else(|| failed(&format!("{name}: 'ttl' is not an integer"), 22))?;
            let wrong = || failed(&format!("{name}: 'ttl' is out of range (0-{TTL_MAX})"), 1);
            u32::try_from(number).ok().filter(|ttl| u64::from(*ttl) <= TTL_MAX).ok_or_else(wrong)?
        }
    };
    Ok(Proxy {
        group: file.text("multicast address")?,
        port: file.text("multicast port")?,
        device_in: file.text("in interface")?,
        device_out: file.text("out interface")?,
        ttl,
        key_file: file.text("key file")?,
        statistics: None,
    })
}

fn mod_socket(name: &str) -> Result<String, Fail> {
    Ok(File::read(name)?.text("instance")?.unwrap_or_else(|| "default".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(content: &str, read: impl Fn(&str) -> Result<T, Fail>) -> Result<T, u8> {
        let count = content.len();
        let path = std::env::temp_dir().join(format!("xlat-joold-{}-{count}.json", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let result = read(path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        result.map_err(|fail| fail.code)
    }

    #[test]
    fn files() {
        let proxy = with(
            r#"{"Multicast Address": "ff08::1", "multicast port": "6464", "in interface": "eth0", "ttl": 3, "reuseaddr": 1}"#,
            net_socket,
        );
        let proxy = proxy.unwrap();
        assert_eq!(
            (proxy.group.as_deref(), proxy.port.as_deref(), proxy.ttl),
            (Some("ff08::1"), Some("6464"), 3)
        );
        assert_eq!((proxy.device_in.as_deref(), proxy.device_out), (Some("eth0"), None));
        for (content, code) in [
            (r#"{"multicast port": 6464}"#, 22),
            (r#"{"ttl": "1"}"#, 22),
            (r#"{"ttl": 257}"#, 1),
            (r#"{"ttl": -1}"#, 1),
            ("{", 1),
            ("[5,6]", 22),
        ] {
            assert_eq!(with(content, net_socket), Err(code), "{content}");
        }
        assert_eq!(with("{}", mod_socket), Ok("default".to_owned()));
        assert_eq!(with(r#"{"instance": "n1"}"#, mod_socket), Ok("n1".to_owned()));
        assert_eq!(net_socket("/nowhere/there.json").unwrap_err().code, 2);
    }
}
