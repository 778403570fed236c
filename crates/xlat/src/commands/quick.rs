//! `xlat nat64` and `xlat siit`: from the words of the command line to a configuration, and from that to a translator.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::fs::{MemfdFlags, memfd_create};
use xlat_config::{
    Config, EamEntry, Instance, Kind, MaxIterations, Pool4Entry, Protocol, Severity, to_toml, validate,
};
use xlat_control::api::{Change, Pool4Block};

use super::change::{ensure_running, framework, one_name, shared_with_host, told};
use super::output::print;
use super::progress::waiting;
use super::remote::{Remote, Target};
use super::trouble::Trouble;
use crate::cli;
use crate::cli::quick::{Nat64, Running, Siit};
use crate::failure::{Failure, Outcome};
use crate::run;

/// Ports of an address that this host uses itself.
const SHARED_PORTS: (u16, u16) = (61001, 65535);

/// The configuration that `xlat nat64` means.
pub(crate) async fn nat64(quick: &Nat64) -> Result<Config, Trouble> {
    let mut pool4 = Vec::new();
    for block in &quick.pool4 {
        let ports = match block.ports {
            Some(ports) => Some(ports),
            None if shared_with_host(block.prefix).await? => Some(SHARED_PORTS),
            None => None,
        };
        pool4.extend(Protocol::ALL.map(|protocol| {
            let all = protocol.all_ports();
            let (first, last) = ports.unwrap_or((*all.start(), *all.end()));
            Pool4Entry {
                protocol,
                prefix: block.prefix,
                ports: first.max(*all.start())..=last,
                mark: 0,
                max_iterations: MaxIterations::Auto,
            }
        }));
    }
    let (global, bib) = Default::default();
    let kind = Kind::Nat64(Box::new(xlat_config::Nat64 { pool6: quick.pool6, global, pool4, bib }));
    checked(&quick.running, kind)
}

/// The configuration that `xlat siit` means.
pub(crate) fn siit(quick: &Siit) -> Result<Config, Trouble> {
    let eamt = quick.eam.iter().map(|eam| EamEntry { ipv6: eam.ipv6, ipv4: eam.ipv4 }).collect();
    let (pool6, denylist4) = (quick.pool6, quick.denylist4.clone());
    let kind = Kind::Siit(Box::new(xlat_config::Siit { pool6, global: Default::default(), eamt, denylist4 }));
    checked(&quick.running, kind)
}

fn checked(running: &Running, kind: Kind) -> Result<Config, Trouble> {
    let name = one_name(running.to.instance.as_ref(), running.name.as_ref())?;
    let (global, limits, routes, output) = Default::default();
    let instance = Instance { name, global, limits, routes, output, kind };
    let config = Config { instances: vec![instance], ..Config::default() };
    // What files are checked for while they are read.
    xlat_config::load("the command line", to_toml(&config), &Default::default())
        .map_err(|found| found.list)
        .and_then(|loaded| {
            let mut found = validate(&loaded.config).list;
            found.retain(|found| found.severity == Severity::Error);
            if found.is_empty() { Ok(loaded.config) } else { Err(found) }
        })
        .map_err(|found| match found.first() {
            None => Trouble::refused("this cannot be"),
            Some(first) => {
                let trouble = Trouble::refused(first.message.clone());
                first.help.iter().fold(trouble, |trouble, help| trouble.help(help))
            }
        })
}

/// Makes the instance in the daemon, or prints the file.
pub(crate) async fn start(running: &Running, config: Config) -> Result<(), Trouble> {
    if running.print {
        return Ok(print(&to_toml(&config))?);
    }
    let Some(instance) = config.instances.first() else { return Ok(()) };
    let to = &running.to;
    let target = Target { translator: instance.kind.translator().into(), name: instance.name.clone() };
    let remote = Remote::new(to);
    ensure_running(&remote, to).await?;
    let framework = framework(&remote, target.translator).await?;
    let pool6 = instance.kind.pool6();
    let mut changes = vec![Change::InstanceAdd { framework, pool6, routes: instance.routes.clone() }];
    match &instance.kind {
        Kind::Nat64(nat64) => {
            for entry in &nat64.pool4 {
                changes.push(pool4(entry).await?);
            }
        }
        Kind::Siit(siit) => {
            // Overlaps were found above, where they are errors.
            changes.extend(siit.eamt.iter().map(|entry| Change::EamtAdd {
                ipv6: entry.ipv6,
                ipv4: entry.ipv4,
                force: true,
            }));
            let denied = siit.denylist4.iter();
            changes.extend(denied.map(|prefix| Change::Denylist4Add { prefix: *prefix, force: false }));
        }
    }
    waiting("the daemon is at it", remote.change(&target, changes)).await?;
    if !to.json {
        // Standard output is for what somebody asks for; without a standard error there is nobody to tell.
        let _ = std::io::stderr().write_all(running_text(&target, &instance.kind).as_bytes());
    }
    told(to, &target)
}

/// What runs now, and what to do with it.
fn running_text(target: &Target, kind: &Kind) -> String {
    let (what, table) = match kind {
        Kind::Nat64(nat64) => {
            let mut addresses: Vec<String> = nat64.pool4.iter().map(|entry| shown(entry.prefix)).collect();
            addresses.sort();
            addresses.dedup();
            let shared = match addresses.as_slice() {
                [] => "this host's own addresses".to_owned(),
                some => some.join(", "),
            };
            (format!("clients reach IPv4 at {} and share {shared}", nat64.pool6), "session")
        }
        Kind::Siit(siit) => {
            let pool6 = siit.pool6.map(|pool6| format!("IPv4 is at {pool6}"));
            let eamt = (!siit.eamt.is_empty()).then(|| format!("mappings: {}", siit.eamt.len()));
            (pool6.into_iter().chain(eamt).collect::<Vec<_>>().join(", "), "eamt")
        }
    };
    format!(
        "xlat: {target} translates: {what}\n\
         xlat: `xlat status`, `xlat stats` and `xlat {table}` show it, `xlat instance remove {}` ends it, `xlat stop` ends all\n",
        target.name
    )
}

/// An address where it is one.
fn shown(prefix: ipnet::Ipv4Net) -> String {
    if prefix.prefix_len() == 32 { prefix.addr().to_string() } else { prefix.to_string() }
}

async fn pool4(entry: &Pool4Entry) -> Result<Change, Trouble> {
    let protocol = entry.protocol.into();
    let (first_port, last_port) = (*entry.ports.start(), *entry.ports.end());
    let block = Pool4Block { mark: entry.mark, protocol, prefix: entry.prefix, first_port, last_port };
    // Ports of the host's own programs matter only where the address is the host's.
    let force = !shared_with_host(entry.prefix).await?;
    Ok(Change::Pool4Add { block, max_iterations: None, force })
}

/// The same as `xlat run` with a file that exists in memory only.
pub(crate) fn foreground(to: &cli::common::To, config: Config) -> Outcome<ExitCode> {
    let device = to.device.clone().unwrap_or(config.device.name);
    let device = xlat_config::Device { name: device, ..config.device };
    let text = to_toml(&Config { device, ..config });
    let file = memfd_create("xlat.toml", MemfdFlags::CLOEXEC)?;
    // It stays open as long as the daemon runs, which reads it again at SIGHUP.
    let mut file = std::fs::File::from(file);
    file.write_all(text.as_bytes())
        .map_err(|error| Failure::doing("cannot keep the configuration in memory", &error))?;
    let config = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    run::run(&cli::Run { config, empty: false, log_level: None, state_dir: None, bpffs: None })
}
