//! `session follow`, `session advertise` and the words of `session proxy` (cli 12.2 to 12.4).

use std::fmt::Write as _;
use std::io::{self, Write};

use xlat_control::sync::Message;
use xlat_control::{Client, ClientError};
use xlat_nat64::SessionInfo;

use super::command::Arguments;
use super::fail::Fail;
use super::values::{clock, unsigned};
use crate::session_proxy::{PAUSE, Proxy, Statistics};

/// What can be done about sessions besides looking at them.
#[derive(Debug)]
pub(super) enum Synchronise {
    Follow,
    Proxy(Proxy),
    Advertise,
}

/// From the words behind the operation.
pub(super) fn parse(operation: &str, arguments: &Arguments) -> Result<Synchronise, Fail> {
    match operation {
        "proxy" => proxy(operation, arguments).map(Synchronise::Proxy),
        "follow" => arguments.no_words(operation).map(|()| Synchronise::Follow),
        _advertise => arguments.no_words(operation).map(|()| Synchronise::Advertise),
    }
}

fn proxy(operation: &str, arguments: &Arguments) -> Result<Proxy, Fail> {
    let text = |name: &str| arguments.option(name).map(str::to_owned);
    let mut words = arguments.words();
    let group = words.next().map(str::to_owned);
    if words.next().is_some() {
        return Err(Fail::argp(operation, "Too many arguments"));
    }
    let (address, port) = (text("stats.address"), text("stats.port"));
    let wanted = address.is_some() || port.is_some();
    let statistics = wanted.then(|| Statistics::new(address, port));
    let ttl = arguments.option("net.ttl").map_or(Ok(1), |word| unsigned(word, 0, 255))?;
    Ok(Proxy {
        group,
        port: text("net.mcast.port"),
        device_in: text("net.dev.in"),
        device_out: text("net.dev.out"),
        ttl: u32::try_from(ttl).unwrap_or(1),
        key_file: text("net.key-file"),
        statistics,
    })
}

/// Carries messages for ever, or says why it cannot begin.
pub(super) async fn carry(
    proxy: &Proxy,
    client: &Client,
    instance: &str,
    out: &mut impl Write,
) -> Result<(), Fail> {
    written(out.write_all(describe(proxy, instance).as_bytes()).and_then(|()| out.flush()))?;
    let sockets = proxy.open().map_err(|trouble| {
        let code = u8::try_from(trouble.code.rem_euclid(256)).unwrap_or(1);
        let stderr = format!("joold error: {} (See syslog)\n", trouble.code);
        Fail { stderr, code, ..Fail::default() }
    })?;
    Ok(sockets.carry(client, instance).await?)
}

/// What is printed at the start.
fn describe(proxy: &Proxy, instance: &str) -> String {
    let unset = |text: &Option<String>| text.clone().unwrap_or_else(|| "(null)".to_owned());
    let mut text = format!(
        "Config:\n  mod.instance: {instance}\n  net.mcast.addr: {}\n  net.mcast.port: {}\n  net.dev.in: {}\n  \
         net.dev.out: {}\n  net.ttl: {}\n",
        unset(&proxy.group),
        proxy.port(),
        unset(&proxy.device_in),
        unset(&proxy.device_out),
        proxy.ttl
    );
    if let Some(file) = &proxy.key_file {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  net.key-file: {file}");
    }
    if let Some(Statistics { address, port }) = &proxy.statistics {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  stats.addr: {address}\n  stats.port: {port}");
    }
    text.push_str("\nFrom here on output goes to syslog,\nas joold.\n");
    text.push_str("-----------------------------------\n");
    text
}

/// Prints each session that the daemon tells of, for ever.
pub(super) async fn follow(client: &Client, instance: &str, out: &mut impl Write) -> Result<(), Fail> {
    let mut received = Some(client.messages(instance).await?);
    let banner = "Arguments were read.\nFor errors from here on look into the system log.\n";
    written(out.write_all(banner.as_bytes()).and_then(|()| out.flush()))?;
    loop {
        while let Some(messages) = &mut received
            && let Ok(Some(message)) = messages.next().await
        {
            // The daemon of another release: its messages mean nothing here.
            let sessions = Message::decode(&message).map_or_else(|_| Vec::new(), |message| message.sessions);
            let rows: String = sessions.iter().map(row).collect();
            written(out.write_all(rows.as_bytes()).and_then(|()| out.flush()))?;
        }
        // The daemon or the instance has ended; there may be another.
        tokio::time::sleep(PAUSE).await;
        received = client.messages(instance).await.ok();
    }
}

fn row(session: &SessionInfo) -> String {
    let SessionInfo { protocol, client, mask, remote, expires_in, .. } = session;
    let left = clock(u64::try_from(expires_in.as_millis()).unwrap_or(u64::MAX));
    let ends = format!(
        "{},{},{},{},{},{}",
        client.addr, client.port, mask.addr, mask.port, remote.addr, remote.port
    );
    format!("{protocol},{ends},{left}\n")
}

/// Asks for an advertisement. What the translator says to that is not waited for, by Jool.
pub(super) async fn advertise(client: &Client, instance: &str) -> Result<(), Fail> {
    match client.advertise(instance).await {
        Ok(()) | Err(ClientError::Refused(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

fn written(result: io::Result<()>) -> Result<(), Fail> {
    result.or_else(super::execute::closed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xlat_nat64::{Protocol, TcpState, Timer, Transport4, Transport6};

    use super::*;

    #[test]
    fn the_configuration_is_printed() {
        let (group, port, device_in, device_out, statistics) = Default::default();
        let proxy = Proxy { group, port, device_in, device_out, ttl: 1, key_file: None, statistics };
        let shown = |proxy: &Proxy| describe(proxy, "default").lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            shown(&proxy)[..8],
            [
                "Config:",
                "  mod.instance: default",
                "  net.mcast.addr: (null)",
                "  net.mcast.port: 6400",
                "  net.dev.in: (null)",
                "  net.dev.out: (null)",
                "  net.ttl: 1",
                ""
            ]
        );
        let statistics = Some(Statistics::new(None, Some("7000".to_owned())));
        let full = Proxy { group: Some("ff08::1".to_owned()), statistics, ttl: 4, ..proxy.clone() };
        let lines = shown(&full);
        assert_eq!(lines[2], "  net.mcast.addr: ff08::1");
        assert_eq!(lines[6..9], ["  net.ttl: 4", "  stats.addr: ::", "  stats.port: 7000"]);
    }

    #[test]
    fn a_session_is_a_row() {
        let session = SessionInfo {
            protocol: Protocol::Tcp,
            client: Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 37878 },
            mask: Transport4 { addr: "192.0.2.1".parse().unwrap(), port: 62805 },
            remote: Transport4 { addr: "192.0.2.8".parse().unwrap(), port: 1234 },
            state: Some(TcpState::V6Init),
            timer: Timer::Transitory,
            expires_in: Duration::from_secs(240),
            promoted: false,
        };
        assert_eq!(row(&session), "TCP,2001:db8::8,37878,192.0.2.1,62805,192.0.2.8,1234,0:04:00\n");
    }
}
