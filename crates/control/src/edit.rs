//! What a change does to a configuration: pure functions, with Jool's checks, wording and order of checks. The result is
//! checked as a whole afterwards; nothing here looks at state.

mod overlap;

use std::collections::{HashMap, VecDeque};

use ipnet::{Ipv4Net, Ipv6Net};
use xlat_config::{
    BibEntry, Config, EamEntry, Hint, Instance, Kind, MaxIterations, Nat64, Siit, Translator, load,
};

use crate::api::{self, BibPair, Change, Changes, Framework, Pool4Block};
use crate::error::{Blame, Error, errno};
use crate::globals::{self, no_suffix, not_subnet_scoped, pool6_length};
use crate::pool4;
use overlap::Overlap;

/// How the instances were made, by kind and name; those that are not in it by [`Framework::Netfilter`].
pub type Frameworks = HashMap<(api::Translator, String), Framework>;

/// What a client calls the change of this number, where it needs a name.
pub(crate) type Place = fn(usize) -> Option<String>;

/// What the changes are checked against besides the configuration.
pub(crate) struct Context<'a> {
    /// Those of the instances; changed along with the configuration.
    pub(crate) frameworks: &'a mut Frameworks,
    /// Ports that the host gives to its own sockets.
    pub(crate) ephemeral: (u16, u16),
    /// What the files among the changes say, in their order.
    pub(crate) files: VecDeque<File>,
    /// Lines for the log, in Jool's words; they hold once the changes are in force.
    pub(crate) log: Vec<String>,
    /// Where an error is.
    pub(crate) place: Place,
}

/// A configuration file that was read: one instance, and what the configuration itself does not keep.
pub(crate) struct File {
    instance: Instance,
    framework: Framework,
}

impl File {
    /// The name of its instance.
    pub(crate) fn name(&self) -> &str {
        &self.instance.name
    }
}

/// Reads the files among the changes, which may take long: before anybody waits for it.
pub(crate) fn read_files(changes: &Changes, place: Place) -> Result<VecDeque<File>, Error> {
    let read = |(at, change): (usize, &Change)| match change {
        Change::File { content, .. } => {
            let file = read_file(changes.translator, &changes.instance, content);
            Some(file.map_err(|error| placed(error, place, at)))
        }
        _other => None,
    };
    changes.changes.iter().enumerate().filter_map(read).collect()
}

/// Makes all changes, in order; on error `config` is worth nothing any more.
pub(crate) fn apply(config: &mut Config, changes: &Changes, context: &mut Context<'_>) -> Result<(), Error> {
    for (at, change) in changes.changes.iter().enumerate() {
        let place = context.place;
        one(config, changes, change, context).map_err(|error| placed(error, place, at))?;
    }
    Ok(())
}

fn placed(error: Error, place: Place, at: usize) -> Error {
    Error { place: error.place.or_else(|| place(at)), ..error }
}

fn one(
    config: &mut Config,
    Changes { translator, instance: name, .. }: &Changes,
    change: &Change,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let translator = *translator;
    match change {
        Change::InstanceAdd { framework, pool6, routes } => {
            let mut instance = new_instance(name, translator, *pool6)?;
            routes.iter().try_for_each(|route| no_suffix(route, &route.trunc()))?;
            instance.routes.clone_from(routes);
            add_instance(config, instance, *framework, context)?;
            context.log.push(format!("Jool: Created instance '{name}'."));
        }
        Change::InstanceRemove => {
            let absent =
                || no_instance(translator, name).in_jools_words("The requested instance does not exist.");
            let at = position(config, translator, name).ok_or_else(absent)?;
            config.instances.remove(at);
            context.frameworks.remove(&(translator, name.clone()));
            context.log.push(deleted(name));
        }
        Change::InstanceFlush => {
            config.instances.retain(|instance| {
                let goes = api::Translator::from(instance.kind.translator()) == translator;
                if goes {
                    context.log.push(deleted(&instance.name));
                }
                !goes
            });
        }
        Change::GlobalUpdate { key, value, force } => {
            let at = found(config, translator, name)?;
            globals::set(&mut config.instances[at], key, value, *force)?;
            context.log.extend([deleted(name), replaced(name)]);
            if (key.as_str(), value.as_bool()) == ("ss-flush-asap", Some(true)) {
                context.log.push("Jool: ss-flush-asap is deprecated: it has no effect.".to_owned());
            }
        }
        Change::EamtAdd { ipv6, ipv4, force } => {
            eamt_add(siit(config, translator, name)?, EamEntry { ipv6: *ipv6, ipv4: *ipv4 }, *force)?;
        }
        Change::EamtRemove { ipv6, ipv4 } => {
            let eamt = &mut siit(config, translator, name)?.eamt;
            let matches = |entry: &EamEntry| {
                ipv6.is_none_or(|prefix| prefix == entry.ipv6)
                    && ipv4.is_none_or(|prefix| prefix == entry.ipv4)
            };
            // Jool says nothing more here than the number.
            let absent = || Error::absent("there is no such mapping").in_jools_words("");
            let at = eamt.iter().position(matches).ok_or_else(absent)?;
            eamt.remove(at);
        }
        Change::EamtFlush => siit(config, translator, name)?.eamt.clear(),
        Change::Denylist4Add { prefix, force } => {
            let denylist4 = &mut siit(config, translator, name)?.denylist4;
            no_suffix(prefix, &prefix.trunc())?;
            not_subnet_scoped(*prefix, *force)?;
            denylist4.push(*prefix);
        }
        Change::Denylist4Remove { prefix } => {
            let denylist4 = &mut siit(config, translator, name)?.denylist4;
            let absent = || {
                Error::absent(format!("{prefix} is not in denylist4"))
                    .in_jools_words("Could not find the requested entry in the IPv4 pool.")
            };
            let at = denylist4.iter().position(|entry| entry == prefix).ok_or_else(absent)?;
            denylist4.remove(at);
        }
        Change::Denylist4Flush => siit(config, translator, name)?.denylist4.clear(),
        Change::Pool4Add { block, max_iterations, force } => {
            let nat64 = nat64(config, translator, name)?;
            no_suffix(&block.prefix, &block.prefix.trunc())?;
            apart_from_ephemeral(block, *force, context.ephemeral)?;
            let iterations = max_iterations.map(model_iterations).transpose()?;
            pool4::add(&mut nat64.pool4, block, iterations);
        }
        Change::Pool4Remove { block, quick } => {
            let nat64 = nat64(config, translator, name)?;
            no_suffix(&block.prefix, &block.prefix.trunc())?;
            pool4::remove(nat64, block, *quick);
        }
        Change::Pool4Flush => {
            let nat64 = nat64(config, translator, name)?;
            nat64.pool4.clear();
            nat64.bib.clear();
        }
        Change::BibAdd(pair) => bib_add(nat64(config, translator, name)?, *pair)?,
        Change::BibRemove { protocol, ipv6, ipv4 } => {
            let bib = &mut nat64(config, translator, name)?.bib;
            let matches = |entry: &BibEntry| {
                entry.protocol == protocol.model()
                    && ipv6.is_none_or(|taddr| (taddr.address, taddr.port) == entry.ipv6)
                    && ipv4.is_none_or(|taddr| (taddr.address, taddr.port) == entry.ipv4)
            };
            let absent = || {
                Error::absent("there is no such BIB entry")
                    .in_jools_words("The entry wasn't in the database.")
            };
            let at = bib.iter().position(matches).ok_or_else(absent)?;
            bib.remove(at);
        }
        Change::File { force, .. } => file(config, translator, *force, context)?,
    }
    Ok(())
}

fn new_instance(name: &str, translator: api::Translator, pool6: Option<Ipv6Net>) -> Result<Instance, Error> {
    if let Some(pool6) = pool6 {
        no_suffix(&pool6, &pool6.trunc())?;
        pool6_length(pool6)?;
    }
    let kind = match (translator, pool6) {
        (api::Translator::Siit, pool6) => Kind::Siit(Box::new(Siit { pool6, ..Siit::default() })),
        (api::Translator::Nat64, Some(pool6)) => {
            let (global, pool4, bib) = Default::default();
            Kind::Nat64(Box::new(Nat64 { pool6, global, pool4, bib }))
        }
        (api::Translator::Nat64, None) => return Err(globals::pool6_missing()),
    };
    Ok(Instance {
        name: name.to_owned(),
        global: Default::default(),
        limits: Default::default(),
        routes: Vec::new(),
        output: Default::default(),
        kind,
    })
}

fn add_instance(
    config: &mut Config,
    instance: Instance,
    framework: Framework,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let (name, translator) = (&instance.name, instance.kind.translator().into());
    if position(config, translator, name).is_some() {
        let kind = instance.kind.translator();
        return Err(Error::exists(format!("there is a {kind} instance named '{name}' already"))
            .with_help("give this one another name, or remove that one")
            .in_jools_words(format!("This namespace already has a Jool instance named '{name}'.")));
    }
    let takes_all = |other: &Instance| {
        api::Translator::from(other.kind.translator()) == translator
            && framework_of(context.frameworks, other) == Framework::Netfilter
    };
    if framework == Framework::Netfilter && config.instances.iter().any(takes_all) {
        let kind = instance.kind.translator();
        return Err(Error::exists(format!("there is a {kind} instance of the framework netfilter already"))
            .with_help("make this one with the framework iptables: here both mean the same")
            .in_jools_words("This namespace already has a Netfilter Jool instance."));
    }
    context.frameworks.insert((translator, name.clone()), framework);
    config.instances.push(instance);
    Ok(())
}

/// How an instance was made.
pub(crate) fn framework_of(frameworks: &Frameworks, instance: &Instance) -> Framework {
    let key = (instance.kind.translator().into(), instance.name.clone());
    frameworks.get(&key).copied().unwrap_or_default()
}

fn position(config: &Config, translator: api::Translator, name: &str) -> Option<usize> {
    config.instances.iter().position(|instance| {
        instance.name == name && api::Translator::from(instance.kind.translator()) == translator
    })
}

/// The index of an instance that must be there.
pub(crate) fn found(config: &Config, translator: api::Translator, name: &str) -> Result<usize, Error> {
    position(config, translator, name).ok_or_else(|| {
        no_instance(translator, name)
            .in_jools_words(format!("This namespace lacks an instance named '{name}'."))
    })
}

fn no_instance(translator: api::Translator, name: &str) -> Error {
    let kind = match translator {
        api::Translator::Siit => Translator::Siit,
        api::Translator::Nat64 => Translator::Nat64,
    };
    Error::absent(format!("there is no {kind} instance named '{name}'"))
}

fn siit<'c>(config: &'c mut Config, translator: api::Translator, name: &str) -> Result<&'c mut Siit, Error> {
    let at = found(config, translator, name)?;
    match &mut config.instances[at].kind {
        Kind::Siit(siit) => Ok(siit),
        Kind::Nat64(_) => Err(wrong_kind(Translator::Nat64)),
    }
}

fn nat64<'c>(
    config: &'c mut Config,
    translator: api::Translator,
    name: &str,
) -> Result<&'c mut Nat64, Error> {
    let at = found(config, translator, name)?;
    match &mut config.instances[at].kind {
        Kind::Nat64(nat64) => Ok(nat64),
        Kind::Siit(_) => Err(wrong_kind(Translator::Siit)),
    }
}

pub(crate) fn wrong_kind(kind: Translator) -> Error {
    Error { errno: errno::EOPNOTSUPP, ..Error::invalid(format!("A {kind} instance has no such table.")) }
}

/// Jool's checks in its order: suffixes, lengths, then what the base addresses meet (cli 8.2).
fn eamt_add(siit: &mut Siit, new: EamEntry, force: bool) -> Result<(), Error> {
    let EamEntry { ipv6, ipv4 } = new;
    no_suffix(&ipv6, &ipv6.trunc())?;
    no_suffix(&ipv4, &ipv4.trunc())?;
    if 32 - ipv4.prefix_len() > 128 - ipv6.prefix_len() {
        let what = "The IPv4 suffix length must be smaller or equal than the IPv6 suffix length.";
        return Err(Error::invalid(format!("{ipv4} has more addresses than {ipv6}")).in_jools_words(what));
    }
    let holds6 = |entry: &&EamEntry| entry.ipv6.contains(&ipv6.network());
    if let Some(entry) = siit.eamt.iter().filter(holds6).max_by_key(|entry| entry.ipv6.prefix_len()) {
        let same_length = entry.ipv6.prefix_len() == ipv6.prefix_len();
        collision(entry, same_length, entry.ipv4 == ipv4, &ipv6, force)?;
    }
    let holds4 = |entry: &&EamEntry| entry.ipv4.contains(&ipv4.network());
    if let Some(entry) = siit.eamt.iter().filter(holds4).max_by_key(|entry| entry.ipv4.prefix_len()) {
        let same_length = entry.ipv4.prefix_len() == ipv4.prefix_len();
        collision(entry, same_length, entry.ipv6 == ipv6, &ipv4, force)?;
    }
    siit.eamt.push(new);
    Ok(())
}

/// What an existing entry that holds the base address of `prefix` means for the new one.
fn collision(
    entry: &EamEntry,
    same_length: bool,
    same_other_side: bool,
    prefix: &dyn std::fmt::Display,
    force: bool,
) -> Result<(), Error> {
    let shown = format!("[{}|{}]", entry.ipv6, entry.ipv4);
    match (same_length, same_other_side) {
        (true, true) => Err(Error::exists("this mapping is there already")
            .in_jools_words("The requested entry already exists.")),
        (true, false) => Err(Error::exists(format!("{prefix} is mapped already, by {shown}"))
            .with_help("remove that mapping first")
            .in_jools_words(format!("Existing EAM {shown} already contains prefix {prefix}."))),
        (false, _) if force => Ok(()),
        (false, _) => Err(Error::exists(format!("{prefix} overlaps with the mapping {shown}"))
            .with_help("with force it is added all the same; the longer prefix wins then")
            .in_jools_words(format!(
                "Prefix {prefix} overlaps with EAM {shown}.\n(Use --force to override this validation.)"
            ))),
    }
}

fn apart_from_ephemeral(block: &Pool4Block, force: bool, ephemeral: (u16, u16)) -> Result<(), Error> {
    let ports = pool4::ports(block);
    let (first, last) = (*ports.start(), *ports.end());
    let common = first <= ephemeral.1 && ephemeral.0 <= last;
    if force || block.protocol == api::Protocol::Icmp || !common {
        return Ok(());
    }
    let (from, to) = ephemeral;
    Err(Error::invalid(format!(
        "ports {first} to {last} meet those that this host gives to its own programs, {from} to {to}"
    ))
    .with_help(
        "take other ports; with force these are taken all the same, which is right where the address is not \
         this host's (docs/migration.md, \"pool4 and ephemeral ports\")",
    )
    .in_jools_words(format!(
        "Port range {first}-{last} intersects with the namespace's ephemeral range ({from}-{to}).\n\
         See docs/migration.md, \"pool4 and ephemeral ports\".\n\
         Rejecting request; add --force to skip this validation."
    )))
}

fn model_iterations(iterations: api::MaxIterations) -> Result<MaxIterations, Error> {
    match iterations {
        api::MaxIterations::Auto => Ok(MaxIterations::Auto),
        api::MaxIterations::Infinity => Ok(MaxIterations::Infinity),
        api::MaxIterations::Count(0) => Err(Error::invalid("max-iterations is at least 1")
            .in_jools_words("Zero is not a legal Max Iterations value.")),
        api::MaxIterations::Count(count) => Ok(MaxIterations::Count(count)),
    }
}

fn bib_add(nat64: &mut Nat64, pair: BibPair) -> Result<(), Error> {
    let BibPair { ipv4, .. } = pair;
    let new = bib_entry(pair);
    if !pool4::has(nat64, new.protocol, ipv4.address, ipv4.port) {
        let api::Transport4 { address, port } = ipv4;
        return Err(Error::invalid(format!("{address}#{port} is not in pool4"))
            .with_help("add it to pool4 first")
            .in_jools_words(format!(
                "Transport address '{address}#{port}' does not belong to pool4.\nPlease add it there first."
            )));
    }
    let meets = |entry: &&BibEntry| {
        entry.protocol == new.protocol && (entry.ipv6 == new.ipv6 || entry.ipv4 == new.ipv4)
    };
    match nat64.bib.iter().find(meets) {
        None => nat64.bib.push(new),
        Some(entry) if *entry == new => {}
        Some(entry) => return Err(bib_collision(&new, entry)),
    }
    Ok(())
}

/// The pair as the configuration has it.
pub(crate) fn bib_entry(pair: BibPair) -> BibEntry {
    let BibPair { protocol, ipv6, ipv4 } = pair;
    BibEntry { protocol: protocol.model(), ipv6: (ipv6.address, ipv6.port), ipv4: (ipv4.address, ipv4.port) }
}

/// Two entries that cannot be at the same time.
pub(crate) fn bib_collision(new: &BibEntry, entry: &BibEntry) -> Error {
    let shown = |entry: &BibEntry| {
        let ((a6, p6), (a4, p4)) = (entry.ipv6, entry.ipv4);
        format!("[{a6}#{p6}, {a4}#{p4}, {}]", entry.protocol)
    };
    Error::exists(format!("{} cannot be beside {}", shown(new), shown(entry)))
        .with_help("remove that entry first")
        .in_jools_words(format!("Entry {} collides with {}.", shown(new), shown(entry)))
}

fn read_file(translator: api::Translator, name: &str, content: &str) -> Result<File, Error> {
    let kind = match translator {
        api::Translator::Siit => Translator::Siit,
        api::Translator::Nat64 => Translator::Nat64,
    };
    let hint = Hint { name: (!name.is_empty()).then(|| name.to_owned()), kind: Some(kind), json: false };
    let refused = |found: xlat_config::Diagnostics| {
        Error::among(&found.list).unwrap_or_else(|| Error::invalid(found.to_string()))
    };
    let loaded = load("the file", content, &hint).map_err(refused)?;
    let [instance]: [Instance; 1] = loaded
        .config
        .instances
        .try_into()
        .map_err(|_| Error::invalid("the file must have exactly one instance"))?;
    Ok(File { instance, framework: framework_in(content) })
}

/// A file replaces the instance: globals and tables are the file's, state stays (config 8).
fn file(
    config: &mut Config,
    translator: api::Translator,
    force: bool,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let unread = || Error::failed(Blame::Bug, "the file was not read");
    let File { instance: mut new, framework } = context.files.pop_front().ok_or_else(unread)?;
    if !force {
        soft_checks(&new, context.ephemeral)?;
    }
    let Some(at) = position(config, translator, &new.name) else {
        return add_instance(config, new, framework, context);
    };
    let old = &config.instances[at];
    if framework_of(context.frameworks, old) != framework {
        return Err(Error::invalid("the framework of an instance cannot be changed")
            .with_help("remove the instance first")
            .in_jools_words("Sorry; you can't change an instance's framework for now."));
    }
    if let (Kind::Nat64(old), Kind::Nat64(new)) = (&old.kind, &mut new.kind) {
        if old.pool6 != new.pool6 {
            return Err(globals::pool6_fixed());
        }
        // The file's own entries were checked above; the table that is there stays, as far as pool4 has it.
        let pool4 = &**new;
        let kept =
            old.bib.iter().filter(|entry| pool4::has(pool4, entry.protocol, entry.ipv4.0, entry.ipv4.1));
        new.bib = kept.copied().collect();
    }
    context.log.extend([deleted(&new.name), replaced(&new.name)]);
    config.instances[at] = new;
    Ok(())
}

fn deleted(name: &str) -> String {
    format!("Jool: Deleted instance '{name}'.")
}

/// Comes behind [`deleted`]: Jool makes a new instance out of the old one.
fn replaced(name: &str) -> String {
    format!("Jool: Replaced instance '{name}'.")
}

/// What `--force` skips, for the parts of a file.
fn soft_checks(instance: &Instance, ephemeral: (u16, u16)) -> Result<(), Error> {
    match &instance.kind {
        Kind::Siit(siit) => {
            if let Some(Overlap { new, earlier, ipv6 }) = overlap::first(&siit.eamt) {
                let EamEntry { ipv6: prefix6, ipv4: prefix4 } = &siit.eamt[new];
                let prefix: &dyn std::fmt::Display = if ipv6 { prefix6 } else { prefix4 };
                collision(&siit.eamt[earlier], false, false, prefix, false)?;
            }
            siit.denylist4.iter().try_for_each(|prefix: &Ipv4Net| not_subnet_scoped(*prefix, false))
        }
        Kind::Nat64(nat64) => nat64.pool4.iter().try_for_each(|entry| {
            let protocol = entry.protocol.into();
            let (first_port, last_port) = (*entry.ports.start(), *entry.ports.end());
            let block =
                Pool4Block { mark: entry.mark, protocol, prefix: entry.prefix, first_port, last_port };
            apart_from_ephemeral(&block, false, ephemeral)
        }),
    }
}

/// The file's framework, which the configuration itself does not keep; only JSON files have one. It was checked before.
fn framework_in(content: &str) -> Framework {
    type Root = HashMap<String, serde_json::Value>;
    let root = serde_json::Deserializer::from_str(content).into_iter::<Root>().next();
    let root = root.and_then(Result::ok).unwrap_or_default();
    let found = root.iter().find(|(key, _)| key.eq_ignore_ascii_case("framework"));
    match found.and_then(|(_, value)| value.as_str()) {
        Some("iptables") => Framework::Iptables,
        Some(_) | None => Framework::Netfilter,
    }
}

#[cfg(test)]
mod tests;
