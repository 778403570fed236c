//! Does what a command says: asks the daemon and prints what it answers.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use xlat_control::api::{
    BibRow, Changes, Counter, Denied, Eam, Instance, Pool4Row, Protocol, SessionRow, Status, Translation,
    Translator,
};
use xlat_control::{Change, Client, ClientError, DEFAULT_DEVICE, Lines, path};

use super::command::{Command, Format, instance_name};
use super::fail::{Fail, INVALID, UNREACHABLE};
use super::names::node;
use super::session::{self, Synchronise};
use super::{Program, file, read_file, show, stats, values, way_out};
use crate::commands::remote::PATIENCE;
use crate::start;

/// Tables of state of at most so many rows are printed in Jool's order; longer ones as they come, which needs no memory.
const SORTED_MAX: usize = 65_536;

/// The name that an instance has unless told otherwise.
const DEFAULT: &str = "default";

/// Does it. `instance` is the name given before the mode.
pub(super) fn execute(program: Program, instance: Option<String>, command: Command) -> Result<(), Fail> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::client(error, 1))?;
    let uid = rustix::process::geteuid().as_raw();
    let client = Client::new(DEFAULT_DEVICE, uid).with_patience(PATIENCE);
    let mut session = Session {
        client,
        translator: program.translator(),
        given: instance,
        out: BufWriter::new(io::stdout()),
    };
    runtime.block_on(async {
        let done = session.execute(command).await;
        // What was printed before an error stays printed before it.
        match (done, session.out.flush()) {
            (Err(fail), _) => Err(fail),
            (Ok(()), written) => written.or_else(closed),
        }
    })
}

struct Session {
    client: Client,
    translator: Translator,
    /// The name given by `-i` or `-f`.
    given: Option<String>,
    out: BufWriter<io::Stdout>,
}

impl Session {
    async fn execute(&mut self, command: Command) -> Result<(), Fail> {
        match command {
            Command::InstanceDisplay(format) => self.instances(format).await,
            Command::InstanceAdd { name, framework, pool6 } => {
                let name = self.either(name)?;
                self.ensure_running().await?;
                let routes = match (self.translator, pool6) {
                    (Translator::Siit, Some(pool6)) => way_out::routes(pool6),
                    (Translator::Siit, None) | (Translator::Nat64, _) => Vec::new(),
                };
                self.change(name, Change::InstanceAdd { framework, pool6, routes }).await
            }
            Command::InstanceRemove { name } => {
                if name.is_none() {
                    self.named().await?;
                }
                let name = self.either(name)?;
                self.change(name, Change::InstanceRemove).await
            }
            Command::InstanceFlush => {
                self.ignores_name("flush");
                self.change(DEFAULT.to_owned(), Change::InstanceFlush).await
            }
            Command::InstanceStatus => self.status().await,
            Command::Stats { format, all, explain } => {
                let mut lines = self.client.rows(&self.path("statistics").await?).await?;
                let mut counters: Vec<Counter> = Vec::new();
                while let Some(counter) = lines.next().await? {
                    counters.push(counter);
                }
                self.print(&stats::stats(&counters, format, all, explain))
            }
            Command::Address { verbose, query } => {
                let found: Translation =
                    self.client.get(&self.path(&format!("address/{query}")).await?).await?;
                self.print(&show::translation(&found, verbose))
            }
            Command::GlobalDisplay(format) => {
                let values = self.client.get(&self.path("global").await?).await?;
                self.print(&show::globals(self.translator, &values, format))
            }
            Command::GlobalUpdate { key, word, force } => {
                self.reach().await?;
                let name = self.instance()?;
                let value = values::global(key, &word)?;
                self.change(name, Change::GlobalUpdate { key: key.name.to_owned(), value, force }).await
            }
            Command::Eamt(format) => {
                self.table("eamt", &show::EAMT, format, |row: &Eam, _| show::eam(row, format)).await
            }
            Command::Denylist4(format) => {
                self.table("denylist4", &show::DENYLIST4, format, |row: &Denied, _| show::denied(row, format))
                    .await
            }
            Command::Pool4(format, protocol) => {
                let rest = format!("pool4?protocol={}", word(protocol));
                let row = |row: &Pool4Row, previous: Option<&Pool4Row>| show::pool4(row, previous, format);
                self.table(&rest, &show::POOL4, format, row).await
            }
            Command::Bib(format, protocol) => {
                let rest = format!("bib?protocol={}", word(protocol));
                let row = |row: &BibRow| {
                    let ipv6 = row.pair.ipv6;
                    let numeric = format.numeric || format.csv;
                    show::bib(row, &node(ipv6.address, ipv6.port, protocol, numeric), format)
                };
                self.state(&rest, show::bib_head(format), |row: &BibRow| row.pair.ipv4, row).await
            }
            Command::Session(format, protocol) => {
                let rest = format!("sessions?protocol={}", word(protocol));
                let row = |row: &SessionRow| {
                    let (v4, v6) = (row.remote4, row.remote6);
                    let numeric = format.numeric || format.csv;
                    let ipv4 = node(v4.address, v4.port, protocol, numeric);
                    let ipv6 = node(v6.address, v6.port, protocol, numeric);
                    show::session(row, &ipv4, &ipv6, format)
                };
                let order = |row: &SessionRow| (row.local4, row.remote4);
                self.state(&rest, show::session_head(format), order, row).await
            }
            Command::Synchronise(what) => {
                let instance = self.instance()?;
                match what {
                    Synchronise::Follow => session::follow(&self.client, &instance, &mut self.out).await,
                    Synchronise::Proxy(proxy) => {
                        session::carry(&proxy, &self.client, &instance, &mut self.out).await
                    }
                    Synchronise::Advertise => session::advertise(&self.client, &instance).await,
                }
            }
            Command::Change(change) => {
                let name = self.named().await?;
                self.change(name, change).await
            }
            Command::File { path, force, check: false } => {
                let name = self.given.clone().unwrap_or_default();
                instance_name(&name)?;
                let content = read_file(Path::new(&path))?;
                file::readable(self.translator, &name, &content)?;
                self.ensure_running().await?;
                self.change(name, Change::File { content, force }).await
            }
            Command::File { path, check: true, .. } => self.check_file(Path::new(&path)),
        }
    }

    /// The instance that is meant; an empty name is the default one.
    fn instance(&self) -> Result<String, Fail> {
        let name = self.given.as_deref().unwrap_or(DEFAULT);
        instance_name(name)?;
        Ok(if name.is_empty() { DEFAULT } else { name }.to_owned())
    }

    /// The same where the name may also stand behind the operation.
    fn either(&self, name: Option<String>) -> Result<String, Fail> {
        match (&self.given, name) {
            (Some(given), Some(name)) if *given != name => {
                Err(Fail::invalid("You entered two different instance names. Please delete one of them."))
            }
            (_, Some(name)) if !name.is_empty() => Ok(name),
            (_, _) => self.instance(),
        }
    }

    /// The instance that is meant. That nobody is there to be asked is said before anything about its name.
    async fn named(&self) -> Result<String, Fail> {
        match self.instance() {
            Ok(name) => Ok(name),
            Err(fail) => self.reach().await.and(Err(fail)),
        }
    }

    /// Whether there is a translator at all.
    async fn reach(&self) -> Result<(), Fail> {
        let _there: Status = self.client.get("/v1/status").await?;
        Ok(())
    }

    async fn path(&self, rest: &str) -> Result<String, Fail> {
        Ok(path(self.translator, &self.named().await?, rest))
    }

    /// The rows of a table, behind what comes before them: that is printed even if there are no rows to be had, unless there
    /// is nobody to ask.
    async fn rows(&mut self, rest: &str, head: &str) -> Result<Lines, Fail> {
        let lines = match self.path(rest).await {
            Ok(path) => self.client.rows(&path).await.map_err(Fail::from),
            Err(fail) => Err(fail),
        };
        if !matches!(&lines, Err(fail) if fail.code == UNREACHABLE) {
            self.print(head)?;
        }
        lines
    }

    fn print(&mut self, text: &str) -> Result<(), Fail> {
        self.out.write_all(text.as_bytes()).or_else(closed)
    }

    async fn change(&self, instance: String, change: Change) -> Result<(), Fail> {
        let changes = Changes { translator: self.translator, instance, changes: vec![change] };
        Ok(self.client.change(&changes).await?)
    }

    async fn ensure_running(&self) -> Result<(), Fail> {
        match self.client.get::<Status>("/v1/status").await {
            Ok(_) => Ok(()),
            Err(ClientError::Unreachable(_)) => start::start(&self.client).await.map_err(|failure| {
                Fail::client(format!("cannot start the xlat daemon: {failure}"), UNREACHABLE)
            }),
            Err(other) => Err(other.into()),
        }
    }

    fn ignores_name(&self, operation: &str) {
        if self.given.is_some() {
            // Without a standard error there is nobody to tell.
            let _ =
                writeln!(io::stderr(), "Warning: instance {operation} ignores the instance name argument.");
        }
    }

    async fn instances(&mut self, format: Format) -> Result<(), Fail> {
        self.ignores_name("display");
        let mut lines = self.client.rows("/v1/instances").await?;
        self.print(&show::INSTANCES.head(format))?;
        while let Some(row) = lines.next::<Instance>().await? {
            if row.translator == self.translator {
                self.print(&show::instance(&row, format))?;
            }
        }
        self.print(&show::INSTANCES.foot(format, false))
    }

    async fn status(&mut self) -> Result<(), Fail> {
        let name = match self.named().await {
            Ok(name) => name,
            Err(fail) => {
                self.print(if fail.code == UNREACHABLE { "Dead\n" } else { "Status unknown\n" })?;
                return Err(fail);
            }
        };
        match self.client.rows("/v1/instances").await {
            Ok(mut lines) => {
                while let Some(row) = lines.next::<Instance>().await? {
                    if row.translator == self.translator && row.name == name {
                        return self.print("Running\n");
                    }
                }
                self.print(&format!("Dead\n(Instance '{name}' does not exist.)\n"))
            }
            Err(error @ ClientError::Unreachable(_)) => {
                self.print("Dead\n")?;
                Err(error.into())
            }
            Err(error) => {
                self.print("Status unknown\n")?;
                Err(error.into())
            }
        }
    }

    /// A framed table, printed as it comes.
    async fn table<R: DeserializeOwned>(
        &mut self,
        rest: &str,
        frame: &show::Frame,
        format: Format,
        show: impl Fn(&R, Option<&R>) -> String,
    ) -> Result<(), Fail> {
        let mut lines = self.rows(rest, &frame.head(format)).await?;
        let mut previous = None;
        while let Some(row) = lines.next::<R>().await? {
            self.print(&show(&row, previous.as_ref()))?;
            previous = Some(row);
        }
        self.print(&frame.foot(format, previous.is_none()))
    }

    /// A table of state: sorted while it is short enough to be kept.
    async fn state<R: DeserializeOwned, K: Ord>(
        &mut self,
        rest: &str,
        head: &str,
        order: impl Fn(&R) -> K,
        show: impl Fn(&R) -> String,
    ) -> Result<(), Fail> {
        let mut lines = self.rows(rest, head).await?;
        let mut kept: Vec<R> = Vec::new();
        while let Some(row) = lines.next::<R>().await? {
            kept.push(row);
            if kept.len() > SORTED_MAX {
                break;
            }
        }
        if kept.len() <= SORTED_MAX {
            kept.sort_by_key(|row| order(row));
        }
        for row in kept {
            self.print(&show(&row))?;
        }
        while let Some(row) = lines.next::<R>().await? {
            self.print(&show(&row))?;
        }
        Ok(())
    }

    /// What is wrong with a file, without any translator.
    fn check_file(&mut self, path: &Path) -> Result<(), Fail> {
        let hint = file::hint(self.translator, self.given.as_deref().unwrap_or_default());
        match xlat_config::load_file(path, &hint) {
            Ok(loaded) if loaded.warnings.list.is_empty() => Ok(()),
            Ok(loaded) => self.print(&format!("{}\n", loaded.warnings)),
            Err(found) => Err(Fail { stderr: format!("{found}\n"), code: INVALID, ..Fail::default() }),
        }
    }
}

/// As queries have it.
fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
    }
}

/// A reader that has seen enough is no error.
pub(super) fn closed(error: io::Error) -> Result<(), Fail> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => std::process::exit(0),
        _ => Err(Fail::client(error, 1)),
    }
}
