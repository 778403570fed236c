//! The daemon as commands see it: requests with a limit on how long they wait, and which instance is meant.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use xlat_control::api::{Changes, Done, Instance, Status, Translator};
use xlat_control::{Change, Client, ClientError, DEFAULT_DEVICE, Lines, path};

use super::trouble::Trouble;
use crate::cli::common::To;

/// How long the daemon may take to begin its answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Changes are checked as a whole and answered when they hold: so many times as long.
const CHANGES: u32 = 10;
/// Instances that are looked at to find the one that is meant.
const INSTANCES_MAX: usize = 4096;

/// The name that an instance has unless told otherwise.
pub(crate) const DEFAULT: &str = "default";

/// A way to the daemon.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) client: Client,
    patience: Duration,
}

/// An instance by kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) translator: Translator,
    pub(crate) name: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} \"{}\"", kind(self.translator), self.name)
    }
}

/// A kind as people write it.
pub(crate) fn kind(translator: Translator) -> &'static str {
    match translator {
        Translator::Siit => "SIIT",
        Translator::Nat64 => "NAT64",
    }
}

impl Remote {
    pub(crate) fn new(to: &To) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let device = to.device.as_deref().unwrap_or(DEFAULT_DEVICE);
        Self { client: Client::new(device, uid), patience: to.timeout.unwrap_or(PATIENCE) }
    }

    /// One object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        match self.within(self.patience, self.client.get(path)).await {
            Ok(found) => Ok(found),
            Err(trouble) => Err(self.explained(trouble).await),
        }
    }

    /// A text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Trouble> {
        match self.within(self.patience, self.client.text(path)).await {
            Ok(text) => Ok(text),
            Err(trouble) => Err(self.explained(trouble).await),
        }
    }

    /// Sends one object and gets one.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Trouble> {
        match self.within(self.patience, self.client.post(path, body)).await {
            Ok(found) => Ok(found),
            Err(trouble) => Err(self.explained(trouble).await),
        }
    }

    /// A table.
    pub(crate) async fn rows(&self, path: &str) -> Result<Rows, Trouble> {
        match self.within(self.patience, self.client.rows(path)).await {
            Ok(lines) => Ok(Rows { lines, remote: self.clone() }),
            Err(trouble) => Err(self.explained(trouble).await),
        }
    }

    /// Lets the daemon read its file again, which may take as long as a change.
    pub(crate) async fn reload(&self) -> Result<Done, Trouble> {
        let nothing = serde_json::json!({});
        match self.within(self.patience * CHANGES, self.client.post("/v1/reload", &nothing)).await {
            Ok(done) => Ok(done),
            Err(trouble) => Err(self.explained(trouble).await),
        }
    }

    /// Sends a text and gets a table.
    pub(crate) async fn put(&self, path: &str, text: String) -> Result<Rows, Trouble> {
        match self.within(self.patience * CHANGES, self.client.put(path, text)).await {
            Ok(lines) => Ok(Rows { lines, remote: self.clone() }),
            Err(trouble) => Err(self.explained(trouble).await),
        }
    }

    /// Makes changes of one instance.
    pub(crate) async fn change(&self, target: &Target, changes: Vec<Change>) -> Result<(), Trouble> {
        let changes = Changes { translator: target.translator, instance: target.name.clone(), changes };
        match self.within(self.patience * CHANGES, self.client.change(&changes)).await {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self.explained(trouble).await),
        }
    }

    async fn within<T>(
        &self,
        patience: Duration,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Trouble> {
        match timeout(patience, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_elapsed) => Err(Trouble::silent(patience.as_secs())),
        }
    }

    /// Says so where daemon and program are of different releases.
    async fn explained(&self, trouble: Trouble) -> Trouble {
        const OWN: &str = env!("CARGO_PKG_VERSION");
        if !trouble.may_be_of_another_release() {
            return trouble;
        }
        match self.within(self.patience, self.client.get::<serde_json::Value>("/v1/status")).await {
            Ok(status) => match status.get("version").and_then(|version| version.as_str()) {
                Some(OWN) => trouble,
                version => {
                    let version = version.unwrap_or("unknown");
                    trouble
                        .because(&format!("the daemon is of release {version}, this program of {OWN}"))
                        .help("restart the daemon: known flows go on meanwhile")
                }
            },
            Err(_worse) => trouble,
        }
    }

    /// The instances there are.
    pub(crate) async fn instances(&self) -> Result<Vec<Instance>, Trouble> {
        let mut rows = self.rows("/v1/instances").await?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().await? {
            found.push(row);
            if found.len() == INSTANCES_MAX {
                break;
            }
        }
        Ok(found)
    }

    /// Whether a daemon answers; other trouble than its absence is told.
    pub(crate) async fn is_running(&self) -> Result<bool, Trouble> {
        match self.get::<Status>("/v1/status").await {
            Ok(_) => Ok(true),
            Err(trouble) if trouble.is_no_daemon() => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// The instance that is meant. `only` is the kind that has what is asked for.
    pub(crate) async fn target(&self, to: &To, only: Option<Translator>) -> Result<Target, Trouble> {
        choose(&self.instances().await?, to, only)
    }

    /// A path of an instance.
    pub(crate) fn path(target: &Target, rest: &str) -> String {
        path(target.translator, &target.name, rest)
    }
}

/// The kind that was named.
pub(crate) fn named_kind(to: &To) -> Option<Translator> {
    match (to.siit, to.nat64) {
        (true, _) => Some(Translator::Siit),
        (_, true) => Some(Translator::Nat64),
        (false, false) => None,
    }
}

/// Of the instances there are, the one that is meant: by name and kind as far as they are given, else the only one, else
/// the one called `default`.
fn choose(instances: &[Instance], to: &To, only: Option<Translator>) -> Result<Target, Trouble> {
    let said = named_kind(to);
    if let (Some(only), Some(said)) = (only, said)
        && only != said
    {
        return Err(Trouble::refused(format!("a {} has no such table", kind(said))));
    }
    let wanted = only.or(said);
    let of_kind = |row: &&Instance| wanted.is_none_or(|wanted| row.translator == wanted);
    let of_name = |row: &&Instance| to.instance.as_ref().is_none_or(|name| row.name == *name);
    let target = |row: &Instance| Target { translator: row.translator, name: row.name.clone() };
    let fitting: Vec<&Instance> = instances.iter().filter(of_kind).filter(of_name).collect();
    match fitting.as_slice() {
        [one] => return Ok(target(one)),
        [] => return Err(nothing_fits(instances, to, wanted)),
        _several => {}
    }
    let named: Vec<&&Instance> = fitting.iter().filter(|row| row.name == DEFAULT).collect();
    match (named.as_slice(), &to.instance) {
        ([one], None) => Ok(target(one)),
        ([], None) => Err(Trouble::refused(format!("there are several instances: {}", list(&fitting)))
            .help("say which by --instance NAME")),
        (_several, _) => Err(Trouble::refused(format!("this can mean {}", list(&fitting)))
            .help("say which by --siit or --nat64")),
    }
}

fn nothing_fits(instances: &[Instance], to: &To, wanted: Option<Translator>) -> Trouble {
    let what = wanted.map_or("instance".to_owned(), |wanted| format!("{} instance", kind(wanted)));
    let named = to.instance.as_ref().map(|name| format!(" named \"{name}\"")).unwrap_or_default();
    let trouble = Trouble::refused(format!("there is no {what}{named} here"));
    let all: Vec<&Instance> = instances.iter().collect();
    match all.as_slice() {
        [] => trouble.help("`xlat nat64` or `xlat siit` makes one"),
        all => trouble.help(format!("there is {}", list(all))),
    }
}

fn list(instances: &[&Instance]) -> String {
    let titles: Vec<String> =
        instances.iter().map(|row| format!("{} \"{}\"", kind(row.translator), row.name)).collect();
    titles.join(", ")
}

/// The rows of a table, each within the time that the daemon may take.
pub(crate) struct Rows {
    lines: Lines,
    remote: Remote,
}

impl Rows {
    /// The next row, read.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Trouble> {
        match self.remote.within(self.remote.patience, self.lines.next()).await {
            Ok(row) => Ok(row),
            Err(trouble) => Err(self.remote.explained(trouble).await),
        }
    }

    /// The next row as it came.
    pub(crate) async fn line(&mut self) -> Result<Option<&[u8]>, Trouble> {
        self.remote.within(self.remote.patience, self.lines.line()).await
    }

    /// The same, of a stream that may have nothing to say for hours.
    pub(crate) async fn whenever<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Trouble> {
        Ok(self.lines.next().await?)
    }
}

/// For a query.
pub(crate) fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(instances: &str, words: &str, only: Option<Translator>) -> Result<String, String> {
        let row = |word: &str| {
            let (translator, name) = word.split_once(':').unwrap();
            let translator = if translator == "siit" { Translator::Siit } else { Translator::Nat64 };
            Instance { namespace: 1, name: name.to_owned(), translator, framework: Default::default() }
        };
        let instances: Vec<Instance> = instances.split_whitespace().map(row).collect();
        let mut to = To::default();
        for word in words.split_whitespace() {
            match word {
                "--siit" => to.siit = true,
                "--nat64" => to.nat64 = true,
                name => to.instance = Some(name.to_owned()),
            }
        }
        let chosen = choose(&instances, &to, only);
        chosen.map(|target| target.to_string()).map_err(|trouble| format!("{trouble:?}"))
    }

    #[test]
    fn the_instance_that_is_meant() {
        let nat64 = Some(Translator::Nat64);
        for (instances, words, only, expected) in [
            ("nat64:office", "", None, "NAT64 \"office\""),
            ("nat64:office siit:edge", "", nat64, "NAT64 \"office\""),
            ("nat64:office siit:edge", "edge", None, "SIIT \"edge\""),
            ("nat64:a nat64:default", "", None, "NAT64 \"default\""),
            ("nat64:default siit:default", "--siit", None, "SIIT \"default\""),
            ("nat64:default siit:default", "", nat64, "NAT64 \"default\""),
        ] {
            assert_eq!(chosen(instances, words, only), Ok(expected.to_owned()), "{instances}: {words}");
        }
        for (instances, words, only, says) in [
            ("", "", None, "xlat nat64"),
            ("siit:edge", "", nat64, "no NAT64 instance here"),
            ("siit:edge", "other", None, "there is SIIT"),
            ("nat64:a nat64:b", "", None, "--instance NAME"),
            ("nat64:default siit:default", "", None, "--siit or --nat64"),
            ("nat64:default siit:default", "default", None, "--siit or --nat64"),
            ("nat64:default", "--siit", nat64, "has no such table"),
        ] {
            let refused = chosen(instances, words, only).unwrap_err();
            assert!(refused.contains(says), "{instances}: {words}: {refused}");
        }
    }
}
