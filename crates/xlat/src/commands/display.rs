//! Shows what is there: once, or again and again.

use std::io::{self, Write};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};
use xlat_control::api::{
    BibRow, Denied, Eam, Instance, Pool4Row, Protocol, SessionRow, Translation, Translator,
};

use super::output::{Form, Printer, Stdout, is_terminal, print};
use super::remote::{Remote, Target, escaped};
use super::rows::{self, Count, Explained};
use super::trouble::Trouble;
use super::{paint, rows::options};
use crate::cli::common::Show;
use crate::cli::tables::{
    AddressQuery, BibDisplay, Pool4Display, PrefixDisplay, SessionDisplay, StateDisplay, StatsDisplay,
};

/// What is shown.
pub(crate) enum View {
    Instances(Show),
    Global(Show),
    Pool4(Pool4Display),
    Bib(BibDisplay),
    Session(SessionDisplay),
    Eamt(PrefixDisplay),
    Denylist4(PrefixDisplay),
    Stats(StatsDisplay),
}

impl View {
    pub(crate) fn show(&mut self) -> &mut Show {
        match self {
            Self::Instances(show) | Self::Global(show) => show,
            Self::Eamt(display) | Self::Denylist4(display) => &mut display.show,
            Self::Pool4(display) => &mut display.show,
            Self::Bib(display) => &mut display.state.show,
            Self::Session(display) => &mut display.table.show,
            Self::Stats(display) => &mut display.show,
        }
    }

    /// The kind of translator that has it.
    fn only(&self) -> Option<Translator> {
        match self {
            Self::Instances(_) | Self::Global(_) | Self::Stats(_) => None,
            Self::Pool4(_) | Self::Bib(_) | Self::Session(_) => Some(Translator::Nat64),
            Self::Eamt(_) | Self::Denylist4(_) => Some(Translator::Siit),
        }
    }
}

/// Shows it as often as asked for.
pub(crate) async fn display(mut view: View) -> Result<(), Trouble> {
    let show = view.show().clone();
    let remote = Remote::new(&show.to);
    match show.watch {
        None => once(&remote, &view, Stdout, paint::stdout()).await,
        Some(pause) => watch(&remote, &mut view, pause).await,
    }
}

/// Shows it again and again; on a terminal each time in the place of the last.
async fn watch(remote: &Remote, view: &mut View, pause: Duration) -> Result<(), Trouble> {
    loop {
        let mut frame = Vec::new();
        if is_terminal() && !view.show().to.json {
            // What scrolls away is not seen.
            let height = rustix::termios::tcgetwinsize(io::stdout()).map_or(24, |size| size.ws_row);
            let limit = u64::from(height.saturating_sub(2));
            let show = view.show();
            let (asked, limit) = (show.limit, show.limit.map_or(limit, |asked| asked.min(limit)));
            show.limit = Some(limit);
            frame.extend(b"\x1b[H\x1b[2J");
            let shown = once(remote, view, &mut frame, paint::stdout()).await;
            view.show().limit = asked;
            shown?;
        } else {
            once(remote, view, &mut frame, paint::stdout()).await?;
        }
        Stdout.write_all(&frame)?;
        Stdout.flush()?;
        tokio::time::sleep(pause).await;
    }
}

async fn once(remote: &Remote, view: &View, out: impl Write, is_painted: bool) -> Result<(), Trouble> {
    let only = view.only();
    match view {
        View::Instances(show) => {
            let kind = super::remote::named_kind(&show.to);
            let name = show.to.instance.clone();
            let is_wanted = move |row: &Instance| {
                kind.is_none_or(|kind| row.translator == kind)
                    && name.as_ref().is_none_or(|name| row.name == *name)
            };
            let mut printer = Printer::new(out, show, is_painted);
            printer.tables(remote, ["/v1/instances".to_owned()], Some(is_wanted)).await
        }
        View::Global(show) => global(remote, show, out, is_painted).await,
        View::Pool4(Pool4Display { show, protocol, mark, within, port, after }) => {
            let target = remote.target(&show.to, only).await?;
            let part = part(show, *within, *port, after.as_deref());
            let mark = mark.map(|mark| format!("&mark={mark}")).unwrap_or_default();
            let path =
                |protocol| Remote::path(&target, &format!("pool4?protocol={}{mark}{part}", word(protocol)));
            let mut printer = Printer::new(out, show, is_painted);
            printer.tables(remote, protocol.all().into_iter().map(path), all::<Pool4Row>()).await
        }
        View::Bib(BibDisplay { state, is_static, is_dynamic }) => {
            let target = remote.target(&state.show.to, only).await?;
            let made = match (is_static, is_dynamic) {
                (true, _) => "&static=true",
                (_, true) => "&static=false",
                (false, false) => "",
            };
            let mut printer = Printer::new(out, &state.show, is_painted);
            printer.tables(remote, paths(&target, "bib", state, made), all::<BibRow>()).await
        }
        View::Session(SessionDisplay { table, state }) => {
            let target = remote.target(&table.show.to, only).await?;
            let state = state.as_ref().map(|state| format!("&state={}", escaped(&state.to_uppercase())));
            // Only TCP has states.
            let mut table = table.clone();
            table.protocol.tcp |= state.is_some();
            let paths = paths(&target, "sessions", &table, state.as_deref().unwrap_or_default());
            let mut printer = Printer::new(out, &table.show, is_painted);
            printer.tables(remote, paths, all::<SessionRow>()).await
        }
        View::Eamt(display) => {
            let path = prefixes(remote, "eamt", display, only).await?;
            Printer::new(out, &display.show, is_painted).tables(remote, [path], all::<Eam>()).await
        }
        View::Denylist4(display) => {
            let path = prefixes(remote, "denylist4", display, only).await?;
            Printer::new(out, &display.show, is_painted).tables(remote, [path], all::<Denied>()).await
        }
        View::Stats(StatsDisplay { show, all, explain }) => {
            let path = Remote::path(&remote.target(&show.to, only).await?, "statistics");
            let mut printer = Printer::new(out, show, is_painted);
            let all = *all;
            match explain {
                true => {
                    let is_wanted = move |row: &Explained| all || row.0.value > 0;
                    printer.tables(remote, [path], Some(is_wanted)).await
                }
                false => {
                    let is_wanted = move |row: &Count| all || row.0.value > 0;
                    printer.tables(remote, [path], Some(is_wanted)).await
                }
            }
        }
    }
}

/// No filter of our own.
fn all<R>() -> Option<fn(&R) -> bool> {
    None
}

/// As queries have it.
pub(crate) fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
    }
}

/// The part of a table that is wanted, for a query that has begun.
fn part(show: &Show, within: Option<IpNet>, port: Option<u16>, after: Option<&str>) -> String {
    let limit = show.limit.filter(|limit| *limit > 0).map(|limit| format!("&limit={limit}"));
    let within = within.map(|within| format!("&within={within}"));
    let port = port.map(|port| format!("&port={port}"));
    let after = after.map(|after| format!("&after={}", escaped(after)));
    [within, port, after, limit].into_iter().flatten().collect()
}

/// The path of a table of prefixes.
async fn prefixes(
    remote: &Remote,
    table: &str,
    display: &PrefixDisplay,
    only: Option<Translator>,
) -> Result<String, Trouble> {
    let PrefixDisplay { show, within, after } = display;
    let target = remote.target(&show.to, only).await?;
    let part = part(show, *within, None, after.as_deref());
    Ok(Remote::path(&target, &format!("{table}?{part}")))
}

/// The paths of a table of state, protocol by protocol.
fn paths(target: &Target, table: &str, display: &StateDisplay, more: &str) -> Vec<String> {
    let part = part(&display.show, display.within, display.port, display.after.as_deref());
    let path = |protocol| Remote::path(target, &format!("{table}?protocol={}{part}{more}", word(protocol)));
    display.protocol.all().into_iter().map(path).collect()
}

async fn global(remote: &Remote, show: &Show, mut out: impl Write, is_painted: bool) -> Result<(), Trouble> {
    let target = remote.target(&show.to, None).await?;
    let values: Map<String, Value> = remote.get(&Remote::path(&target, "global")).await?;
    if Form::of(show) == Form::Json {
        writeln!(out, "{}", Value::from(values))?;
        return Ok(());
    }
    let shown = options(target.translator, &values);
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let bold = paint::BOLD.when(is_painted);
    match (Form::of(show), show.no_headers) {
        (_, true) => {}
        (Form::Csv, false) => writeln!(out, "Option,Value")?,
        (_, false) => writeln!(out, "{bold}{:<width$}  Value{bold:#}", "Option")?,
    }
    for (name, value) in shown {
        match Form::of(show) {
            Form::Csv if value.contains(',') => writeln!(out, "{name},\"{value}\"")?,
            Form::Csv => writeln!(out, "{name},{value}")?,
            _ => writeln!(out, "{name:<width$}  {value}")?,
        }
    }
    Ok(out.flush()?)
}

/// `address query`.
pub(crate) async fn address(query: &AddressQuery) -> Result<(), Trouble> {
    let remote = Remote::new(&query.to);
    let target = remote.target(&query.to, Some(Translator::Siit)).await?;
    let found: Translation =
        remote.get(&Remote::path(&target, &format!("address/{}", query.address))).await?;
    Ok(print(&match query.to.json {
        true => format!("{}\n", serde_json::to_string(&found).unwrap_or_default()),
        false => rows::translation(&found, query.verbose),
    })?)
}
