//! The configuration reference (docs/configuration.md), made from the same tables that files are read by.

use std::fmt::Write as _;

use crate::keys::{self, Key};
use crate::model::Translator;
use crate::options::{Draft, OPTIONS, Section, Spec};

const INTRODUCTION: &str = "\
# Configuration reference

This page is generated from the code; `UPDATE_DOCS=1 cargo test -p xlat-config` rewrites it.

A configuration is a TOML file with one or more instances, or one of Jool's own JSON files (atomic configuration) as it
is. A file that begins with `{` is JSON, whatever its name. A short NAT64:

```toml
[[instance]]
name = \"default\"
type = \"nat64\"
pool4 = [\"203.0.113.2\"]
[instance.global]
pool6 = \"64:ff9b::/96\"
```

Common to all tables: letter case of keys does not matter, a hyphen in a key may be a blank (`\"port range\"`), a key
`comment` is ignored. Unknown keys are errors. A prefix has no bits set beyond its length. A duration is a string
`[[HH:]MM:]SS[.mmm]`. All errors of a file are reported together; checks that compare entries with each other follow
when every single value is right. Files have at most 256 MiB.

More examples: [docs/examples](examples/).
";

const LISTS: &str = "\
## The lists

In TOML an element of `pool4` may be just a prefix, `\"203.0.113.2\"`: TCP and UDP ports 1 to 65535 and all ICMP
identifiers. Blocks of one instance may overlap, also those of different marks; those of two instances may not.

In TOML an element of `eamt` may be just the two prefixes in one string, `\"192.0.2.0/24 2001:db8::/120\"`, either
first. Prefer that for long tables: a million entries are read in about a tenth of the time. The same prefix twice is an error; where prefixes overlap the longest one
wins (RFC 7757).
";

const JOOL: &str = "\
## Jool's files

One file is one instance. Its kind follows from the keys it has: `pool4`, `bib` or an option of NAT64 only make it a
NAT64; `eamt`, `denylist4` or an option of SIIT only make it a SIIT; with neither and no `pool6` it is a SIIT that
translates nothing. Where only `pool6` is given the kind must be told: by the caller, or by an empty `\"pool4\": []` or
`\"eamt\": []`. As in Jool, text after the root object is ignored and fractions are cut off where integers are expected.
Differences: marks up to 4294967295 work; the fraction of a duration is decimal (`1.5` is one and a half seconds);
junk after numbers and prefixes is refused; overlapping EAM entries need force by `file handle`, and none in a file that `run` reads.
";

/// The whole reference, Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    keys_table(&mut page, "The file", keys::ROOT);
    options_table(&mut page, "`[device]`", |spec| spec.section == Section::Device);
    options_table(&mut page, "`[fast-path]`", |spec| spec.section == Section::FastPath);
    options_table(&mut page, "`[web]`", |spec| spec.section == Section::Web);
    options_table(&mut page, "`[log]`", |spec| spec.section == Section::Log);
    keys_table(&mut page, "`[[instance]]`", keys::INSTANCE);
    for spec in OPTIONS.iter().filter(|spec| spec.section == Section::Instance) {
        row(&mut page, &[&format!("`{}`", spec.key), "both", &spec.describe(), &description(spec)]);
    }
    let global =
        |only: Option<Translator>| move |spec: &Spec| spec.section == Section::Global && spec.only == only;
    options_table(&mut page, "`[instance.global]`, SIIT and NAT64", global(None));
    options_table(&mut page, "`[instance.global]`, SIIT only", global(Some(Translator::Siit)));
    options_table(&mut page, "`[instance.global]`, NAT64 only", global(Some(Translator::Nat64)));
    options_table(&mut page, "`[instance.limits]`", |spec| spec.section == Section::Limits);
    page.push('\n');
    page.push_str(LISTS);
    keys_table(&mut page, "An element of `eamt`", keys::EAM);
    keys_table(&mut page, "An element of `pool4`", keys::POOL4);
    keys_table(&mut page, "An element of `bib`", keys::BIB);
    page.push('\n');
    page.push_str(JOOL);
    page
}

fn keys_table(page: &mut String, title: &str, keys: &[Key]) {
    heading(page, title, &["Key", "For", "Type", "Meaning"]);
    for key in keys {
        row(page, &[&format!("`{}`", key.name), &whose(key.only), key.form, key.doc]);
    }
}

fn options_table(page: &mut String, title: &str, listed: impl Fn(&Spec) -> bool) {
    heading(page, title, &["Option", "Default", "Type", "Meaning"]);
    let mut defaults = Draft::default();
    for spec in OPTIONS.iter().filter(|spec| listed(spec)) {
        let default = spec.show(&mut defaults).map_or("unset".to_owned(), |default| format!("`{default}`"));
        row(page, &[&format!("`{}`", spec.key), &default, &spec.describe(), &description(spec)]);
    }
}

fn description(spec: &Spec) -> String {
    let beyond_jool = spec.native && spec.section == Section::Global;
    format!("{}{}", spec.doc, if beyond_jool { " TOML only." } else { "" })
}

fn whose(only: Option<Translator>) -> String {
    only.map_or("both".to_owned(), |only| only.to_string())
}

fn heading(page: &mut String, title: &str, columns: &[&str]) {
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {title}\n\n");
    row(page, columns);
    row(page, &vec!["---"; columns.len()]);
}

fn row(page: &mut String, cells: &[&str]) {
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}
