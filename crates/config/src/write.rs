//! A configuration back into TOML: what is not at its default, in the order of the reference. Reading the result gives the
//! same configuration again.

use std::fmt::Write as _;

use crate::model::{
    Config, EamEntry, Instance, Kind, MaxIterations, Nat64, Pool4Entry, Protocol, Siit, Translator,
};
use crate::options::{Draft, OPTIONS, Section};

/// The tables that the daemon as a whole has.
pub(crate) const TABLES: [(Section, &str); 4] = [
    (Section::Device, "device"),
    (Section::FastPath, "fast-path"),
    (Section::Web, "web"),
    (Section::Log, "log"),
];

/// The configuration as a file.
#[must_use]
pub fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    let mut draft = whole(config);
    for (section, heading) in TABLES {
        options(&mut text, &format!("[{heading}]"), &settings(&mut draft, section, None));
    }
    for one in &config.instances {
        instance(&mut text, one);
    }
    text
}

/// The options of the daemon as a whole.
pub(crate) fn whole(config: &Config) -> Draft {
    // A new part of the configuration has to be written too: this does not compile without it.
    let Config { device, fast_path, web, log, instances: _ } = config;
    Draft {
        device: device.clone(),
        fast_path: fast_path.clone(),
        web: web.clone(),
        log: log.clone(),
        ..Draft::default()
    }
}

/// The options of one instance.
pub(crate) fn own(instance: &Instance) -> Draft {
    let Instance { name: _, global, limits, routes, output, kind } = instance;
    let draft = Draft {
        global: global.clone(),
        limits: limits.clone(),
        routes: routes.clone(),
        output: *output,
        pool6: kind.pool6(),
        ..Draft::default()
    };
    match kind {
        Kind::Siit(siit) => Draft { siit: siit.global.clone(), ..draft },
        Kind::Nat64(nat64) => Draft { nat64: nat64.global.clone(), ..draft },
    }
}

/// The options of a section that are not at their defaults, in TOML; `kind` of the instance, if it is one's section.
pub(crate) fn settings(
    draft: &mut Draft,
    section: Section,
    kind: Option<Translator>,
) -> Vec<(&'static str, String)> {
    let mut defaults = Draft::default();
    let has = |only: Option<Translator>| only.is_none_or(|only| kind == Some(only));
    let specs = OPTIONS.iter().filter(|spec| spec.section == section && has(spec.only));
    specs
        .filter_map(|spec| {
            let value = spec.show(draft);
            let value = if value == spec.show(&mut defaults) { None } else { value };
            value.map(|value| (spec.key, value))
        })
        .collect()
}

/// The value of an option as it is without being set.
pub(crate) fn default_of(section: Section, key: &str) -> Option<String> {
    let spec = OPTIONS.iter().find(|spec| spec.section == section && spec.key == key)?;
    spec.show(&mut Draft::default())
}

fn options(text: &mut String, heading: &str, settings: &[(&str, String)]) {
    if settings.is_empty() {
        return;
    }
    blank_line(text);
    line(text, heading);
    for (key, value) in settings {
        line(text, &format!("{key} = {value}"));
    }
}

fn instance(text: &mut String, instance: &Instance) {
    let kind = instance.kind.translator();
    blank_line(text);
    line(text, "[[instance]]");
    line(text, &format!("name = {}", quoted(&instance.name)));
    line(text, &format!("type = \"{}\"", kind.to_string().to_lowercase()));
    let mut draft = own(instance);
    for (key, value) in settings(&mut draft, Section::Instance, Some(kind)) {
        line(text, &format!("{key} = {value}"));
    }
    for (key, elements) in lists(&instance.kind) {
        list(text, key, elements);
    }
    options(text, "[instance.global]", &settings(&mut draft, Section::Global, Some(kind)));
    options(text, "[instance.limits]", &settings(&mut draft, Section::Limits, Some(kind)));
}

/// The lists of an instance, each element in TOML.
pub(crate) fn lists(kind: &Kind) -> Vec<(&'static str, Vec<String>)> {
    match kind {
        Kind::Siit(siit) => {
            let Siit { pool6: _, global: _, eamt, denylist4 } = &**siit;
            let eam = |entry: &EamEntry| format!("\"{} {}\"", entry.ipv4, entry.ipv6);
            vec![
                ("eamt", eamt.iter().map(eam).collect()),
                ("denylist4", denylist4.iter().map(|prefix| format!("\"{prefix}\"")).collect()),
            ]
        }
        Kind::Nat64(nat64) => {
            let Nat64 { pool6: _, global: _, pool4, bib } = &**nat64;
            let bib = bib.iter().map(|entry| {
                let ((a6, p6), (a4, p4)) = (entry.ipv6, entry.ipv4);
                let protocol = entry.protocol;
                format!(
                    "{{ protocol = \"{protocol}\", ipv6-address = \"{a6}#{p6}\", ipv4-address = \"{a4}#{p4}\" }}"
                )
            });
            vec![("pool4", blocks(pool4)), ("bib", bib.collect())]
        }
    }
}

fn list(text: &mut String, key: &str, elements: Vec<String>) {
    match elements.as_slice() {
        [] => {}
        [one] => line(text, &format!("{key} = [{one}]")),
        several => {
            line(text, &format!("{key} = ["));
            several.iter().for_each(|element| line(text, &format!("    {element},")));
            line(text, "]");
        }
    }
}

/// Three blocks in a row that differ in nothing but the protocol are one element.
fn blocks(pool4: &[Pool4Entry]) -> Vec<String> {
    let mut elements = Vec::new();
    let mut rest = pool4;
    while let [first, others @ ..] = rest {
        let of = |protocol: Protocol| Pool4Entry { protocol, ..first.clone() };
        let all_of = |protocol: Protocol| Pool4Entry { ports: protocol.all_ports(), ..of(protocol) };
        let three = rest.get(..3).unwrap_or_default();
        if *three == Protocol::ALL.map(all_of) {
            let plain = (first.mark, first.max_iterations) == (0, MaxIterations::Auto);
            elements.push(if plain { format!("\"{}\"", first.prefix) } else { block(first, false, false) });
        } else if *three == Protocol::ALL.map(of) {
            elements.push(block(first, false, true));
        } else {
            elements.push(block(first, true, first.ports != first.protocol.all_ports()));
            rest = others;
            continue;
        }
        rest = rest.get(3..).unwrap_or_default();
    }
    elements
}

fn block(entry: &Pool4Entry, with_protocol: bool, with_ports: bool) -> String {
    let mut fields = vec![format!("prefix = \"{}\"", entry.prefix)];
    if with_protocol {
        fields.push(format!("protocol = \"{}\"", entry.protocol));
    }
    if with_ports {
        fields.push(format!("port-range = \"{}-{}\"", entry.ports.start(), entry.ports.end()));
    }
    if entry.mark != 0 {
        fields.push(format!("mark = {}", entry.mark));
    }
    match entry.max_iterations {
        MaxIterations::Auto => {}
        MaxIterations::Infinity => fields.push("max-iterations = \"infinity\"".to_owned()),
        MaxIterations::Count(count) => fields.push(format!("max-iterations = {count}")),
    }
    format!("{{ {} }}", fields.join(", "))
}

/// A name; it has printable ASCII characters only.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

fn blank_line(text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hint, load, load_file};

    /// What is written is read back as the same.
    fn there_and_back(config: &Config) -> String {
        let text = to_toml(config);
        let again =
            load("written", &text, &Hint::default()).unwrap_or_else(|found| panic!("{found}\n{text}"));
        assert_eq!(again.config, *config, "{text}");
        text
    }

    #[test]
    fn examples_come_back() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
        for entry in std::fs::read_dir(docs).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                there_and_back(&load_file(&path, &Hint::default()).unwrap().config);
            }
        }
    }

    #[test]
    fn everything_that_can_be_set_is_written() {
        let text = r#"
[device]
name = "xl1"
queues = 3
routes = ["192.0.2.0/24", "2001:db8:5::/48"]

[fast-path]
ingress = "all"
exclude = ["eth7"]
outlive = "0:30:00.500"

[web]
listen = ["127.0.0.1:9464", "[::1]:9464"]

[log]
to = "syslog:tcp:192.0.2.9:601"
format = "json"

[[instance]]
name = "a \"q\" \\ one"
type = "siit"
output = "stack"
routes = ["192.0.2.0/24"]
eamt = [
    "192.0.2.5/32 2001:db8:4::5/128",
    "192.0.2.0/24 2001:db8:5::/120",
]
denylist4 = ["198.51.100.0/24"]

[instance.global]
pool6 = "2001:db8::/96"
mtu-plateaus = [1500, 1280]
eam-hairpin-mode = "simple"
rfc6791v4-prefix = "203.0.113.0/28"

[[instance]]
name = "n"
type = "nat64"
pool4 = [
    "203.0.113.2/32",
    { prefix = "203.0.113.4/31", port-range = "61001-65535", mark = 7, max-iterations = 9 },
    { prefix = "203.0.113.9/32", mark = 8 },
    { prefix = "203.0.113.8/32", protocol = "UDP", port-range = "1-100", max-iterations = "infinity" },
    { prefix = "203.0.113.8/32", protocol = "ICMP" },
]
bib = [{ protocol = "TCP", ipv6-address = "2001:db8::8#80", ipv4-address = "203.0.113.2#80" }]

[instance.global]
pool6 = "64:ff9b::/96"
tcp-est-timeout = "3:00:00"

[instance.limits]
max-sessions-per-source = 1000
"#;
        let loaded = load("text", text, &Hint::default()).unwrap();
        assert_eq!(there_and_back(&loaded.config), text.trim_start());
    }

    #[test]
    fn nothing_is_an_empty_file() {
        assert_eq!(to_toml(&Config::default()), "");
    }
}
