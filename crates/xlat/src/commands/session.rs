//! `xlat session follow`, `proxy` and `advertise`: sessions that several translators tell each other of.

use std::io::{self, Write as _};
use std::time::Duration;

use serde_json::json;
use xlat_config::notation::show_duration;
use xlat_control::api::Translator;
use xlat_control::sync::Message;
use xlat_nat64::SessionInfo;

use super::change::told;
use super::output::Stdout;
use super::remote::Remote;
use super::trouble::Trouble;
use crate::cli::common::To;
use crate::cli::tables::SessionProxy;
use crate::session_proxy::{PAUSE, Proxy, Statistics};

/// Prints each session that the daemon tells of, until the reader goes.
pub(crate) async fn follow(to: &To) -> Result<(), Trouble> {
    let remote = Remote::new(to);
    let target = remote.target(to, Some(Translator::Nat64)).await?;
    let mut received = Some(remote.client.messages(&target.name).await?);
    loop {
        while let Some(messages) = &mut received
            && let Ok(Some(message)) = messages.next().await
        {
            // The daemon of another release: its messages mean nothing here.
            let sessions = Message::decode(&message).map_or_else(|_| Vec::new(), |message| message.sessions);
            let rows: String = sessions.iter().map(|session| row(session, to.json)).collect();
            Stdout.write_all(rows.as_bytes())?;
            Stdout.flush()?;
        }
        // The daemon or the instance has ended; there may be another.
        tokio::time::sleep(PAUSE).await;
        received = remote.client.messages(&target.name).await.ok();
    }
}

fn row(session: &SessionInfo, json: bool) -> String {
    let SessionInfo { protocol, client, mask, remote, expires_in, .. } = session;
    if json {
        let end = |address: String, port: u16| json!({ "address": address, "port": port });
        let row = json!({
            "protocol": protocol.to_string().to_lowercase(),
            "remote6": end(client.addr.to_string(), client.port),
            "local4": end(mask.addr.to_string(), mask.port),
            "remote4": end(remote.addr.to_string(), remote.port),
            "expires-in": u64::try_from(expires_in.as_millis()).unwrap_or(u64::MAX),
        });
        return format!("{row}\n");
    }
    let left = show_duration(Duration::from_secs(expires_in.as_secs()));
    format!(
        "{protocol}  {}#{}  {}#{}  {}#{}  {left}\n",
        client.addr, client.port, mask.addr, mask.port, remote.addr, remote.port
    )
}

/// Carries messages between the daemon and the group, for ever.
pub(crate) async fn proxy(words: &SessionProxy) -> Result<(), Trouble> {
    let remote = Remote::new(&words.to);
    let target = remote.target(&words.to, Some(Translator::Nat64)).await?;
    let port = words.counters_port.clone();
    let proxy = Proxy {
        group: Some(words.group.clone()),
        port: Some(words.port.clone()),
        device_in: words.device_in.clone(),
        device_out: words.device_out.clone(),
        ttl: words.ttl,
        key_file: words.key_file.clone(),
        statistics: port.map(|port| Statistics::new(words.counters_address.clone(), Some(port))),
    };
    let sockets = proxy.open().map_err(|trouble| Trouble::refused(trouble.what))?;
    // Without a standard error there is nobody to tell.
    let _ = writeln!(
        io::stderr(),
        "xlat: carrying sessions of {target} to and from {}; trouble goes to the system log, as joold",
        sockets.group
    );
    Ok(sockets.carry(&remote.client, &target.name).await?)
}

/// Has all sessions told.
pub(crate) async fn advertise(to: &To) -> Result<(), Trouble> {
    let remote = Remote::new(to);
    let target = remote.target(to, Some(Translator::Nat64)).await?;
    remote.client.advertise(&target.name).await?;
    told(to, &target)
}

#[cfg(test)]
mod tests {
    use xlat_nat64::{Protocol, TcpState, Timer, Transport4, Transport6};

    use super::*;

    #[test]
    fn a_session_is_a_row() {
        let session = SessionInfo {
            protocol: Protocol::Tcp,
            client: Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 37878 },
            mask: Transport4 { addr: "192.0.2.1".parse().unwrap(), port: 62805 },
            remote: Transport4 { addr: "192.0.2.8".parse().unwrap(), port: 1234 },
            state: Some(TcpState::V6Init),
            timer: Timer::Transitory,
            expires_in: Duration::from_millis(240_500),
            promoted: false,
        };
        let human = "TCP  2001:db8::8#37878  192.0.2.1#62805  192.0.2.8#1234  0:04:00\n";
        assert_eq!(row(&session, false), human);
        let json: serde_json::Value = serde_json::from_str(&row(&session, true)).unwrap();
        assert_eq!((&json["protocol"], &json["remote6"]["port"]), (&json!("tcp"), &json!(37878)));
        assert_eq!(json["expires-in"], 240_500);
    }
}
