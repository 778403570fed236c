//! Makes changes, after asking where traffic would end.

use std::fs;

use serde_json::json;
use xlat_control::api::{
    BibPair, BibRow, Change, Counter, Eam, Framework, Pool4Block, Protocol, Translator, Transport4,
    Transport6,
};
use xlat_control::globals;
use xlat_linux::netlink::watch;

use super::confirm::confirm;
use super::display::word;
use super::output::print;
use super::progress::waiting;
use super::remote::{DEFAULT, Remote, Target, kind, named_kind};
use super::trouble::Trouble;
use crate::cli::common::{Ending, To};
use crate::cli::files::FileHandle;
use crate::cli::notation;
use crate::cli::tables::{
    BibAdd, BibRemove, Block, EamtAdd, EamtRemove, GlobalUpdate, InstanceAdd, InstanceRemove, Pool4Add,
    Pool4Remove, Transport,
};
use crate::failure::Failure;
use crate::start;

/// Entries that are counted before it is asked whether they may go.
const COUNTED_MAX: usize = 10_000;

/// Makes the changes and says so.
async fn make(remote: &Remote, to: &To, target: &Target, changes: Vec<Change>) -> Result<(), Trouble> {
    waiting("the daemon is at it", remote.change(target, changes)).await?;
    told(to, target)
}

/// A change is silent; with `--json` it is one object.
pub(crate) fn told(to: &To, Target { translator, name }: &Target) -> Result<(), Trouble> {
    if to.json {
        let object = json!({ "translator": translator.word(), "instance": name, "changed": true });
        print(&format!("{object}\n"))?;
    }
    Ok(())
}

/// A change of an instance of a kind that needs no question.
pub(crate) async fn plain(to: &To, only: Translator, change: Change) -> Result<(), Trouble> {
    let remote = Remote::new(to);
    let target = remote.target(to, Some(only)).await?;
    make(&remote, to, &target, vec![change]).await
}

/// Starts a daemon where none runs.
pub(crate) async fn ensure_running(remote: &Remote, to: &To) -> Result<(), Trouble> {
    if remote.is_running().await? {
        return Ok(());
    }
    if let Some(device) = &to.device {
        return Err(Trouble::no_daemon()
            .help(format!("`xlat run` starts one, with name = \"{device}\" under [device] in its file")));
    }
    Ok(waiting("starting the daemon", start::start(&remote.client)).await?)
}

/// How instances of ours are kept for Jool's commands, which allow one of the first kind only.
pub(crate) async fn framework(remote: &Remote, translator: Translator) -> Result<Framework, Trouble> {
    let instances = remote.instances().await?;
    Ok(match instances.iter().any(|row| row.translator == translator) {
        true => Framework::Iptables,
        false => Framework::Netfilter,
    })
}

/// The name out of the two places where it may stand.
pub(crate) fn one_name(by_option: Option<&String>, by_word: Option<&String>) -> Result<String, Trouble> {
    match (by_option, by_word) {
        (Some(one), Some(other)) if one != other => {
            Err(Trouble::refused(format!("is it \"{one}\" or \"{other}\"? There are two names")))
        }
        (one, other) => Ok(one.or(other).map_or(DEFAULT, String::as_str).to_owned()),
    }
}

pub(crate) async fn instance_add(add: &InstanceAdd) -> Result<(), Trouble> {
    let InstanceAdd { to, name, pool6, .. } = add;
    let name = one_name(to.instance.as_ref(), name.as_ref())?;
    let translator = named_kind(to).ok_or_else(|| {
        Trouble::refused("say --nat64 (stateful) or --siit (stateless)")
            .help("`xlat nat64` and `xlat siit` make an instance with its tables in one command")
    })?;
    let remote = Remote::new(to);
    ensure_running(&remote, to).await?;
    let framework = match (add.netfilter, add.iptables) {
        (true, _) => Framework::Netfilter,
        (_, true) => Framework::Iptables,
        (false, false) => framework(&remote, translator).await?,
    };
    let change = Change::InstanceAdd { framework, pool6: *pool6, routes: Vec::new() };
    make(&remote, to, &Target { translator, name }, vec![change]).await
}

pub(crate) async fn instance_remove(remove: &InstanceRemove) -> Result<(), Trouble> {
    let Ending { to, yes } = &remove.ending;
    let named = match (&to.instance, &remove.name) {
        (None, None) => None,
        (one, other) => Some(one_name(one.as_ref(), other.as_ref())?),
    };
    let remote = Remote::new(to);
    let target = remote.target(&To { instance: named, ..to.clone() }, None).await?;
    ask(&remote, &target, *yes).await?;
    make(&remote, to, &target, vec![Change::InstanceRemove]).await
}

pub(crate) async fn instance_flush(Ending { to, yes }: &Ending) -> Result<(), Trouble> {
    let remote = Remote::new(to);
    let wanted = named_kind(to);
    let mut instances = remote.instances().await?;
    instances.retain(|row| wanted.is_none_or(|wanted| row.translator == wanted));
    if !instances.is_empty() {
        let names: Vec<String> =
            instances.iter().map(|row| format!("{} \"{}\"", kind(row.translator), row.name)).collect();
        confirm(&format!("this ends {}", names.join(", ")), *yes)?;
    }
    for translator in [Translator::Siit, Translator::Nat64] {
        if instances.iter().any(|row| row.translator == translator) {
            let target = Target { translator, name: DEFAULT.to_owned() };
            remote.change(&target, vec![Change::InstanceFlush]).await?;
        }
    }
    if to.json {
        print(&format!("{}\n", json!({ "removed": instances.len() })))?;
    }
    Ok(())
}

/// `instance status`: whether it is there.
pub(crate) async fn instance_status(to: &To) -> Result<bool, Trouble> {
    let remote = Remote::new(to);
    let instances = remote.instances().await?;
    let name = to.instance.as_deref();
    let found = instances.iter().filter(|row| {
        name.is_none_or(|name| row.name == name) && named_kind(to).is_none_or(|kind| row.translator == kind)
    });
    let found: Vec<String> = match to.json {
        true => found
            .map(|row| {
                json!({ "translator": row.translator, "instance": row.name, "running": true }).to_string()
            })
            .collect(),
        false => found.map(|row| format!("{} \"{}\" is running", kind(row.translator), row.name)).collect(),
    };
    let text = match (found.as_slice(), to.json) {
        ([], true) => json!({ "instance": name, "running": false }).to_string(),
        ([], false) => "no such instance".to_owned(),
        (found, _) => found.join("\n"),
    };
    print(&format!("{text}\n"))?;
    Ok(!found.is_empty())
}

/// Asks if the instance carries traffic: as far as can be told, a stateless one always does.
async fn ask(remote: &Remote, target: &Target, yes: bool) -> Result<(), Trouble> {
    if yes {
        return Ok(());
    }
    match target.translator {
        Translator::Siit => confirm(&format!("{target} may carry traffic, which would end"), yes),
        Translator::Nat64 => match sessions(remote, target).await? {
            0 => Ok(()),
            count => confirm(&format!("{target} has {count} sessions, which would end"), yes),
        },
    }
}

async fn sessions(remote: &Remote, target: &Target) -> Result<u64, Trouble> {
    let mut rows = remote.rows(&Remote::path(target, "statistics")).await?;
    while let Some(counter) = rows.next::<Counter>().await? {
        if counter.name == "sessions" {
            return Ok(counter.value);
        }
    }
    Ok(0)
}

pub(crate) async fn global_update(update: &GlobalUpdate) -> Result<(), Trouble> {
    let GlobalUpdate { to, key, value, force } = update;
    let unknown = || Trouble::refused(format!("there is no option \"{key}\""));
    let known = globals::KEYS.iter().find(|known| known.name == *key).ok_or_else(unknown)?;
    let value = notation::option(known, value).map_err(Trouble::refused)?;
    let remote = Remote::new(to);
    let target = remote.target(to, known.only).await?;
    let change = Change::GlobalUpdate { key: key.clone(), value, force: *force };
    make(&remote, to, &target, vec![change]).await
}

/// The blocks that are meant, one for each protocol.
fn blocks(block: &Block) -> Vec<Pool4Block> {
    let of = |protocol: Protocol| {
        let least = if protocol == Protocol::Icmp { 0 } else { 1 };
        let (first_port, last_port) = block.ports.unwrap_or((least, u16::MAX));
        Pool4Block { mark: block.mark, protocol, prefix: block.prefix, first_port, last_port }
    };
    block.protocol.all().into_iter().map(of).collect()
}

pub(crate) async fn pool4_add(add: &Pool4Add) -> Result<(), Trouble> {
    let Pool4Add { to, block, max_iterations, force } = add;
    let remote = Remote::new(to);
    let target = remote.target(to, Some(Translator::Nat64)).await?;
    // Ports of the host's own programs matter only where the address is the host's.
    let force = *force || !shared_with_host(block.prefix).await?;
    let changes = blocks(block)
        .into_iter()
        .map(|block| Change::Pool4Add { block, max_iterations: *max_iterations, force })
        .collect();
    make(&remote, to, &target, changes).await
}

/// Whether one of the addresses is this host's own.
pub(crate) async fn shared_with_host(prefix: ipnet::Ipv4Net) -> Result<bool, Trouble> {
    let host = watch::snapshot().await;
    let host = host.map_err(|error| Failure::doing("cannot read this host's addresses", &error))?;
    Ok(host.v4.iter().any(|own| prefix.contains(&own.address)))
}

pub(crate) async fn pool4_remove(remove: &Pool4Remove) -> Result<(), Trouble> {
    let Ending { to, yes } = &remove.ending;
    let remote = Remote::new(to);
    let target = remote.target(to, Some(Translator::Nat64)).await?;
    let blocks = blocks(&remove.block);
    if !yes {
        let mut entries = 0;
        for block in &blocks {
            let path = format!("bib?protocol={}&within={}", word(block.protocol), block.prefix);
            let ports = block.first_port..=block.last_port;
            let is_meant = |row: &BibRow| {
                (row.is_static || row.sessions > 0)
                    && ports.contains(&row.pair.ipv4.port)
                    && block.prefix.contains(&row.pair.ipv4.address)
            };
            entries += counted(&remote, &Remote::path(&target, &path), is_meant).await?;
        }
        if entries > 0 {
            let entries = shown(entries);
            let loss = format!("{entries} BIB entries, static or with sessions, use that, which would end");
            confirm(&loss, *yes)?;
        }
    }
    let changes = blocks.into_iter().map(|block| Change::Pool4Remove { block, quick: false }).collect();
    make(&remote, to, &target, changes).await
}

/// How many BIB entries are meant, as far as it matters.
async fn counted(remote: &Remote, path: &str, is_meant: impl Fn(&BibRow) -> bool) -> Result<usize, Trouble> {
    let mut rows = remote.rows(path).await?;
    let mut count = 0;
    while let Some(row) = rows.next::<BibRow>().await? {
        count += usize::from(is_meant(&row));
        if count == COUNTED_MAX {
            break;
        }
    }
    Ok(count)
}

fn shown(count: usize) -> String {
    if count < COUNTED_MAX { count.to_string() } else { format!("{COUNTED_MAX} or more") }
}

pub(crate) async fn pool4_flush(Ending { to, yes }: &Ending) -> Result<(), Trouble> {
    let remote = Remote::new(to);
    let target = remote.target(to, Some(Translator::Nat64)).await?;
    ask(&remote, &target, *yes).await?;
    make(&remote, to, &target, vec![Change::Pool4Flush]).await
}

/// The two ends out of words in either order.
fn ends(pair: &[Transport]) -> Result<(Option<Transport6>, Option<Transport4>), Trouble> {
    let (mut six, mut four) = (None, None);
    for one in pair {
        let is_second = match one {
            Transport::V6(ipv6) => six.replace(*ipv6).is_some(),
            Transport::V4(ipv4) => four.replace(*ipv4).is_some(),
        };
        if is_second {
            return Err(Trouble::refused("one transport address is IPv6, the other IPv4"));
        }
    }
    Ok((six, four))
}

fn needed(protocol: Option<Protocol>) -> Result<Protocol, Trouble> {
    protocol.ok_or_else(|| Trouble::refused("say which protocol: --tcp, --udp or --icmp"))
}

pub(crate) async fn bib_add(add: &BibAdd) -> Result<(), Trouble> {
    let protocol = needed(add.protocol.one())?;
    let (Some(ipv6), Some(ipv4)) = ends(&add.pair)? else {
        return Err(Trouble::refused("it takes an IPv6 and an IPv4 transport address"));
    };
    plain(&add.to, Translator::Nat64, Change::BibAdd(BibPair { protocol, ipv6, ipv4 })).await
}

pub(crate) async fn bib_remove(remove: &BibRemove) -> Result<(), Trouble> {
    let Ending { to, yes } = &remove.ending;
    let protocol = needed(remove.protocol.one())?;
    let (ipv6, ipv4) = ends(&remove.pair)?;
    let remote = Remote::new(to);
    let target = remote.target(to, Some(Translator::Nat64)).await?;
    let query = match (ipv6, ipv4) {
        (Some(Transport6 { address, port }), _) => format!("within={address}/128&port={port}"),
        (None, Some(Transport4 { address, port })) => format!("within={address}/32&port={port}"),
        (None, None) => return Err(Trouble::refused("it takes a transport address")),
    };
    if !yes {
        let path = Remote::path(&target, &format!("bib?protocol={}&{query}", word(protocol)));
        let is_meant = |row: &BibRow| {
            row.sessions > 0
                && ipv6.is_none_or(|ipv6| ipv6 == row.pair.ipv6)
                && ipv4.is_none_or(|ipv4| ipv4 == row.pair.ipv4)
        };
        if counted(&remote, &path, is_meant).await? > 0 {
            confirm("the entry has sessions, which would end", *yes)?;
        }
    }
    make(&remote, to, &target, vec![Change::BibRemove { protocol, ipv6, ipv4 }]).await
}

fn prefixes(pair: &[ipnet::IpNet]) -> Result<(Option<ipnet::Ipv6Net>, Option<ipnet::Ipv4Net>), Trouble> {
    let (mut six, mut four) = (None, None);
    for one in pair {
        let is_second = match one {
            ipnet::IpNet::V6(ipv6) => six.replace(*ipv6).is_some(),
            ipnet::IpNet::V4(ipv4) => four.replace(*ipv4).is_some(),
        };
        if is_second {
            return Err(Trouble::refused("one prefix is IPv6, the other IPv4"));
        }
    }
    Ok((six, four))
}

pub(crate) async fn eamt_add(add: &EamtAdd) -> Result<(), Trouble> {
    let (Some(ipv6), Some(ipv4)) = prefixes(&add.pair)? else {
        return Err(Trouble::refused("it takes an IPv4 and an IPv6 prefix"));
    };
    plain(&add.to, Translator::Siit, Change::EamtAdd { ipv6, ipv4, force: add.force }).await
}

pub(crate) async fn eamt_remove(remove: &EamtRemove) -> Result<(), Trouble> {
    let (ipv6, ipv4) = prefixes(&remove.pair)?;
    plain(&remove.to, Translator::Siit, Change::EamtRemove { ipv6, ipv4 }).await
}

pub(crate) async fn eamt_flush(Ending { to, yes }: &Ending) -> Result<(), Trouble> {
    let remote = Remote::new(to);
    let target = remote.target(to, Some(Translator::Siit)).await?;
    if !yes && remote.rows(&Remote::path(&target, "eamt")).await?.next::<Eam>().await?.is_some() {
        confirm(&format!("{target} may carry traffic by its mappings, which would end"), *yes)?;
    }
    make(&remote, to, &target, vec![Change::EamtFlush]).await
}

/// `file handle`: the file says which kind it is, unless it is told.
pub(crate) async fn file(handle: &FileHandle) -> Result<(), Trouble> {
    let FileHandle { to, file, force } = handle;
    let told_kind = named_kind(to).map(|translator| match translator {
        Translator::Siit => xlat_config::Translator::Siit,
        Translator::Nat64 => xlat_config::Translator::Nat64,
    });
    let hint = xlat_config::Hint { name: to.instance.clone(), kind: told_kind, json: false };
    let loaded = xlat_config::load_file(file, &hint)
        .map_err(|found| Trouble::refused(format!("the file has errors\n{found}")))?;
    let [instance] = loaded.config.instances.as_slice() else {
        return Err(Trouble::refused(format!("it has {} instances, not one", loaded.config.instances.len()))
            .help("make it the daemon's own file and use `xlat reload`"));
    };
    let target = Target { translator: instance.kind.translator().into(), name: instance.name.clone() };
    let remote = Remote::new(to);
    ensure_running(&remote, to).await?;
    let content = fs::read_to_string(file)
        .map_err(|error| Failure::doing(format!("cannot read {}", file.display()), &error))?;
    make(&remote, to, &target, vec![Change::File { content, force: *force }]).await
}
