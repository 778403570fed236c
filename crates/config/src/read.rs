//! The walk over a value tree that makes a configuration of it: one reader for both formats. It goes on after an
//! error, so that a person sees all of them at once.

use std::collections::HashMap;

use crate::check;
use crate::diagnostic::{Diagnostic, Diagnostics, Location, Place, Severity, shown, suggestion};
use crate::field::{Fault, Field};
use crate::keys::{self, Dialect, Key};
use crate::lists::Lists;
use crate::model::{Config, Instance, Kind, Nat64, Siit, Translator};
use crate::node::{Member, Node, Span, SyntaxError, Value};
use crate::options::{Draft, OPTIONS, Section, Spec};
use crate::value::{self, Problem};
use crate::{Hint, source::InstancePlaces, source::Places};

/// What has been read and what is wrong with it.
pub(crate) struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    dialect: Dialect,
    hint: &'t Hint,
    diagnostics: Diagnostics,
    config: Config,
    places: Places,
}

/// The known keys of one table with their members, in file order.
pub(crate) type Members<'n, 't> = Vec<(&'static str, &'n Member<'t>)>;

impl<'t> Reader<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str, dialect: Dialect, hint: &'t Hint) -> Self {
        let (diagnostics, config, places) = Default::default();
        Self { file, text, dialect, hint, diagnostics, config, places }
    }

    /// Reports that the file does not follow its grammar.
    pub(crate) fn syntax_error(&mut self, error: SyntaxError) {
        self.report((error.span, Problem::new(error.message, error.help)));
    }

    /// Reads a whole file.
    pub(crate) fn root(&mut self, root: &Node<'t>) {
        match self.dialect {
            Dialect::Jool => self.instance(root),
            Dialect::Native => {
                let members = self.members("", root, &names(keys::ROOT, self.dialect));
                for (key, member) in members.unwrap_or_default() {
                    match key {
                        "device" => self.device(&member.node),
                        "fast-path" => self.fast_path(&member.node),
                        "web" => self.web(&member.node),
                        "log" => self.log(&member.node),
                        _ => self.instances(&member.node),
                    }
                }
            }
        }
    }

    /// What came of it, diagnostics in file order.
    pub(crate) fn finish(mut self) -> (Config, Places, Diagnostics) {
        let place = |diagnostic: &Diagnostic| diagnostic.location.as_ref().map_or(0, |at| at.span.start);
        self.diagnostics.list.sort_by_key(place);
        (self.config, self.places, self.diagnostics)
    }

    pub(crate) fn field<'n>(&self, name: &'n str, node: &'n Node<'t>) -> Field<'n, 't>
    where
        't: 'n,
    {
        Field { name, node, text: self.text, lax: self.dialect == Dialect::Jool }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Notes what is wrong and goes on without the value.
    pub(crate) fn accept<T>(&mut self, value: Result<T, Fault>) -> Option<T> {
        value.map_err(|fault| self.report(fault)).ok()
    }

    /// The members of a table by their canonical keys; unknown and repeated ones are reported, and what is no table.
    pub(crate) fn members<'n>(
        &mut self,
        name: &str,
        node: &'n Node<'t>,
        known: &[&'static str],
    ) -> Option<Members<'n, 't>> {
        let Value::Table(table) = &node.value else {
            let fault = self
                .field(name_or_unnamed(name), node)
                .mistyped("object", "write a table of keys and values");
            self.report(fault);
            return None;
        };
        let mut members: Members<'n, 't> = Vec::with_capacity(table.len().min(known.len()));
        for member in table {
            if member.key.eq_ignore_ascii_case("comment") {
                continue;
            }
            let Some(key) = known.iter().copied().find(|known| same_key(&member.key, known)) else {
                self.unknown_key(member, known);
                continue;
            };
            if members.iter().any(|(before, _)| *before == key) {
                let message = format!("Multiple '{}' tags found. Aborting...", shown(&member.key));
                self.report((member.key_span, Problem::new(message, "keep one of them")));
                continue;
            }
            members.push((key, member));
        }
        Some(members)
    }

    /// A child that must be there.
    pub(crate) fn mandatory<'n>(
        &mut self,
        parent: &str,
        node: &Node<'t>,
        members: &Members<'n, 't>,
        child: &str,
    ) -> Option<Field<'n, 't>>
    where
        't: 'n,
    {
        if let Some((_, member)) = members.iter().find(|(key, _)| *key == child) {
            return Some(self.field(&member.key, &member.node));
        }
        self.missing(parent, node, child, "add it");
        None
    }

    fn missing(&mut self, parent: &str, node: &Node<'t>, child: &str, help: &str) {
        let child = match self.dialect {
            Dialect::Jool => child.replace('-', " "),
            Dialect::Native => child.to_owned(),
        };
        let message = format!("Object '{}' is missing the '{child}' child.", name_or_unnamed(parent));
        let start = node.span.bytes().start;
        self.report((Span::new(start, start + 1), Problem::new(message, help)));
    }

    fn device(&mut self, node: &Node<'t>) {
        let mut draft = Draft::default();
        let set = self.options("device", node, &mut draft, |spec| spec.section == Section::Device);
        self.places.device = set;
        self.config.device = draft.device;
    }

    fn fast_path(&mut self, node: &Node<'t>) {
        let mut draft = Draft::default();
        self.places.fast_path =
            self.options("fast-path", node, &mut draft, |spec| spec.section == Section::FastPath);
        self.config.fast_path = draft.fast_path;
    }

    fn web(&mut self, node: &Node<'t>) {
        let mut draft = Draft::default();
        self.options("web", node, &mut draft, |spec| spec.section == Section::Web);
        self.config.web = draft.web;
    }

    fn log(&mut self, node: &Node<'t>) {
        let mut draft = Draft::default();
        self.options("log", node, &mut draft, |spec| spec.section == Section::Log);
        self.config.log = draft.log;
    }

    fn instances(&mut self, node: &Node<'t>) {
        if let Value::Table(_) = node.value {
            let help = "write [[instance]] with two brackets on each side: there may be several";
            let fault = self.field("instance", node).mistyped("array of tables", help);
            return self.report(fault);
        }
        let elements = self.field("instance", node).array();
        for element in self.accept(elements).unwrap_or_default() {
            self.instance(element);
        }
    }

    fn instance(&mut self, node: &Node<'t>) {
        let mut known = names(keys::INSTANCE, self.dialect);
        let own = |spec: &&Spec| spec.section == Section::Instance && self.dialect == Dialect::Native;
        known.extend(OPTIONS.iter().filter(own).map(|spec| spec.key));
        let Some(members) = self.members("", node, &known) else { return };
        let find = |key: &str| members.iter().find(|(known, _)| *known == key).map(|(_, member)| *member);

        let name = self.instance_name(node, &members);
        self.framework(node, &members);
        let global = find("global").map(|member| &member.node);
        let translator = self.translator(node, &members, global);
        // Which keys are allowed depends on the kind; without one the other errors come first.
        let Some(translator) = translator else { return };

        let mut draft = Draft::default();
        let mut options = HashMap::new();
        if let Some(global) = global {
            let native = self.dialect == Dialect::Native;
            options = self.options("global", global, &mut draft, |spec| {
                spec.section == Section::Global
                    && spec.only.is_none_or(|only| only == translator)
                    && (native || !spec.native)
            });
        }
        if let Some(limits) = find("limits") {
            let allowed = |spec: &Spec| spec.section == Section::Limits;
            options.extend(self.options("limits", &limits.node, &mut draft, allowed));
        }
        for spec in OPTIONS.iter().filter(|spec| spec.section == Section::Instance) {
            if let Some(member) = find(spec.key) {
                self.option(spec, member, &mut draft, &mut options);
            }
        }
        let mut lists = Lists::default();
        for (key, member) in &members {
            let section = keys::INSTANCE.iter().find(|known| known.name == *key);
            match section.and_then(|section| section.only) {
                Some(only) if only != translator => self.foreign_key(member, only, translator),
                Some(_) => lists.read(self, key, &member.node),
                None => {}
            }
        }
        let head = Span::new(node.span.bytes().start, node.span.bytes().start + 1);
        let places = InstancePlaces { head, options, lists: std::mem::take(&mut lists.places) };
        let kind = match translator {
            Translator::Siit => Some(Kind::Siit(Box::new(Siit {
                pool6: draft.pool6,
                global: draft.siit,
                eamt: lists.eamt,
                denylist4: lists.denylist4,
            }))),
            Translator::Nat64 => self.pool6(node, global, draft.pool6).map(|pool6| {
                Kind::Nat64(Box::new(Nat64 {
                    pool6,
                    global: draft.nat64,
                    pool4: lists.pool4,
                    bib: lists.bib,
                }))
            }),
        };
        if let (Some(name), Some(kind)) = (name, kind) {
            let Draft { global, limits, routes, output, .. } = draft;
            self.config.instances.push(Instance { name, global, limits, routes, output, kind });
            self.places.instances.push(places);
        }
    }

    fn instance_name(&mut self, node: &Node<'t>, members: &Members<'_, 't>) -> Option<String> {
        let mut names = members.iter().filter(|(key, _)| matches!(*key, "name" | "instance"));
        let given = names.next();
        if let Some((_, second)) = names.next() {
            let problem =
                Problem::new("the instance is named twice", "'name' and 'instance' are the same; keep one");
            self.report((second.key_span, problem));
        }
        let hint = self.hint.name.as_ref().filter(|_| self.dialect == Dialect::Jool);
        let Some((key, member)) = given else {
            if let Some(name) = hint {
                let checked = check::instance_name(name).map_err(|problem| (node.span, problem));
                return self.accept(checked);
            }
            let child = if self.dialect == Dialect::Native { "name" } else { "instance" };
            self.missing(
                "",
                node,
                child,
                "add it: up to 15 characters by which logs and commands call the instance",
            );
            return None;
        };
        let field = self.field(key, &member.node);
        let name = self.accept(field.parsed(check::instance_name))?;
        match hint {
            Some(other) if *other != name => {
                let message =
                    format!("the file names the instance '{name}', the command line '{}'", shown(other));
                self.report(
                    field.fault(Problem::new(message, "leave one of the two out, or make them equal")),
                );
                None
            }
            _ => Some(name),
        }
    }

    /// Jool demands a framework; ours is neither of its two.
    fn framework(&mut self, node: &Node<'t>, members: &Members<'_, 't>) {
        if self.dialect == Dialect::Native {
            return;
        }
        let Some(field) = self.mandatory("", node, members, "framework") else { return };
        let framework = field.parsed(|text| match text {
            "netfilter" | "iptables" => Ok(()),
            _ => Err(Problem::new(
                format!("Unknown framework: '{}'", shown(text)),
                "write \"netfilter\" or \"iptables\"",
            )),
        });
        self.accept(framework);
    }

    /// The type as written, else as the caller says, else as the keys tell. With neither pool6 nor tables it can only
    /// be SIIT, because NAT64 needs pool6; with pool6 alone it can be both.
    fn translator(
        &mut self,
        node: &Node<'t>,
        members: &Members<'_, 't>,
        global: Option<&Node<'t>>,
    ) -> Option<Translator> {
        if let Some((key, member)) = members.iter().find(|(key, _)| *key == "type") {
            let field = self.field(key, &member.node);
            return self.accept(field.parsed(value::translator));
        }
        if let (Some(kind), Dialect::Jool) = (self.hint.kind, self.dialect) {
            return Some(kind);
        }
        let sections = members.iter().filter_map(|(key, _)| {
            keys::INSTANCE.iter().find(|known| known.name == *key).and_then(|known| known.only)
        });
        let globals: &[Member<'t>] = match global.map(|global| &global.value) {
            Some(Value::Table(members)) => members,
            _ => &[],
        };
        let spec = |member: &Member<'t>| {
            OPTIONS.iter().find(|spec| spec.section == Section::Global && same_key(&member.key, spec.key))
        };
        let told = sections.chain(globals.iter().filter_map(|member| spec(member)?.only)).next();
        let has_pool6 = globals
            .iter()
            .any(|member| same_key(&member.key, "pool6") && !matches!(&member.node.value, Value::Null));
        if told.is_none() && has_pool6 {
            let help = match self.dialect {
                Dialect::Native => "add type = \"nat64\" (stateful) or type = \"siit\" (stateless)",
                Dialect::Jool => "add \"pool4\": [] for a NAT64 or \"eamt\": [] for a SIIT",
            };
            let problem = Problem::new("this instance can be a SIIT or a NAT64", help);
            let start = node.span.bytes().start;
            self.report((Span::new(start, start + 1), problem));
            return None;
        }
        Some(told.unwrap_or(Translator::Siit))
    }

    /// The pool6 that NAT64 must have; where it was refused that has been said already.
    fn pool6(
        &mut self,
        node: &Node<'t>,
        global: Option<&Node<'t>>,
        pool6: Option<ipnet::Ipv6Net>,
    ) -> Option<ipnet::Ipv6Net> {
        let given = match global.map(|global| &global.value) {
            Some(Value::Table(members)) => members.iter().find(|member| same_key(&member.key, "pool6")),
            _ => None,
        };
        let unset = given.is_none_or(|member| match &member.node.value {
            Value::Null => true,
            Value::String(text) => text == "null",
            _ => false,
        });
        if pool6.is_none() && unset {
            let start = node.span.bytes().start;
            let span = given.map_or(Span::new(start, start + 1), |member| member.node.span);
            let help = "add pool6 to the global options; 64:ff9b::/96 is what DNS64 resolvers use by default";
            self.report((span, Problem::new("pool6 is mandatory in NAT64 instances.", help)));
        }
        pool6
    }

    /// Sets those options of a table that `allowed` lets through; says where each stands.
    fn options(
        &mut self,
        name: &str,
        node: &Node<'t>,
        draft: &mut Draft,
        allowed: impl Fn(&Spec) -> bool,
    ) -> HashMap<&'static str, Span> {
        let allowed: Vec<&Spec> = OPTIONS.iter().filter(|spec| allowed(spec)).collect();
        let known: Vec<&'static str> = allowed.iter().map(|spec| spec.key).collect();
        let mut places = HashMap::new();
        for (key, member) in self.members(name, node, &known).unwrap_or_default() {
            for spec in allowed.iter().filter(|spec| spec.key == key) {
                self.option(spec, member, draft, &mut places);
            }
        }
        places
    }

    fn option(
        &mut self,
        spec: &Spec,
        member: &Member<'t>,
        draft: &mut Draft,
        places: &mut HashMap<&'static str, Span>,
    ) {
        let field = self.field(&member.key, &member.node);
        if self.accept(spec.set(draft, field)).is_some() {
            places.insert(spec.key, member.node.span);
        }
    }

    fn unknown_key(&mut self, member: &Member<'t>, known: &[&'static str]) {
        let spec = OPTIONS.iter().find(|spec| same_key(&member.key, spec.key));
        let help = match (spec, suggestion(&member.key, known.iter().copied())) {
            (Some(Spec { section: Section::Global, only: Some(only), native: false, .. }), _)
                if known.contains(&"pool6") =>
            {
                format!("'{}' is an option of {only}, which this instance is not", shown(&member.key))
            }
            (Some(spec), _)
                if !known.contains(&spec.key) && (!spec.native || self.dialect == Dialect::Native) =>
            {
                let table = match spec.section {
                    Section::Device => "[device]",
                    Section::FastPath => "[fast-path]",
                    Section::Web => "[web]",
                    Section::Log => "[log]",
                    Section::Instance => "[[instance]]",
                    Section::Global => "the instance's 'global'",
                    Section::Limits => "the instance's 'limits'",
                };
                format!("it belongs in {table}")
            }
            (_, Some(meant)) => format!("did you mean '{meant}'?"),
            (_, None) => format!("the keys here are: {}", known.join(", ")),
        };
        let message = match self.dialect {
            Dialect::Jool => format!("Unknown tag: '{}'", shown(&member.key)),
            Dialect::Native => format!("unknown key '{}'", shown(&member.key)),
        };
        self.report((member.key_span, Problem::new(message, help)));
    }

    fn foreign_key(&mut self, member: &Member<'t>, only: Translator, translator: Translator) {
        let message = match self.dialect {
            Dialect::Jool => format!("Unknown tag: '{}'", shown(&member.key)),
            Dialect::Native => format!("unknown key '{}'", shown(&member.key)),
        };
        let help = format!("'{}' belongs to {only} instances; this one is {translator}", shown(&member.key));
        self.report((member.key_span, Problem::new(message, help)));
    }

    pub(crate) fn report(&mut self, (span, problem): Fault) {
        let full = self.diagnostics.list.len() >= crate::diagnostic::DIAGNOSTICS_MAX;
        // Working a place out takes a pass over the file: not for what will not be shown.
        let location = (!full).then(|| Location::new(self.file, self.text, span.bytes()));
        self.diagnostics.push(Diagnostic {
            severity: Severity::Error,
            message: problem.message,
            help: Some(problem.help),
            place: Place::File,
            location,
        });
    }
}

/// The names of those keys that the format has.
pub(crate) fn names(keys: &[Key], dialect: Dialect) -> Vec<&'static str> {
    keys.iter().filter(|key| key.dialect.is_none_or(|only| only == dialect)).map(|key| key.name).collect()
}

/// Keys are equal whatever their case, and a blank is a hyphen.
fn same_key(given: &str, known: &str) -> bool {
    let same =
        |(given, known): (u8, u8)| given.eq_ignore_ascii_case(&known) || (given == b' ' && known == b'-');
    given.len() == known.len() && given.bytes().zip(known.bytes()).all(same)
}

fn name_or_unnamed(name: &str) -> &str {
    if name.is_empty() { "<unnamed>" } else { name }
}
