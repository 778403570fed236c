//! One frame: a snapshot laid out for the size there is. Everything fits 80 by 24; what is more goes to the lists.

use std::cmp::Reverse;
use std::collections::VecDeque;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Sparkline, Table, Widget, Wrap};
use xlat_control::live::{Directions, Live, Reason};

use super::numbers::{duration, percent, rate, scaled, whole};

/// Seconds of throughput that are kept: more than a terminal is wide.
const HISTORY: usize = 400;
/// Lines that a terminal has before the throughput is drawn.
const TALL: u16 = 30;

/// By what sources are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Most sessions first.
    #[default]
    Sessions,
    /// Most BIB entries first.
    BibEntries,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Sessions => Self::BibEntries,
            Self::BibEntries => Self::Sessions,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::BibEntries => "BIB entries",
        }
    }
}

/// What is shown, and how.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) live: Option<Live>,
    /// Bits per second, both directions and paths together.
    pub(super) history: VecDeque<u64>,
    pub(super) sort: Sort,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// Why nothing new comes.
    pub(super) trouble: Option<String>,
    /// To be printed: without what only a terminal has.
    pub(super) as_text: bool,
}

impl View {
    /// Takes a new snapshot, unless the picture is held still.
    pub(super) fn show(&mut self, live: Live) {
        self.trouble = None;
        if self.paused {
            return;
        }
        let (from6, from4) = live.bit_rates();
        self.history.push_back((from6 + from4) as u64);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.live = Some(live);
    }
}

impl Widget for &View {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Some(live) = &self.live else {
            let text = self.trouble.as_deref().unwrap_or("waiting for the daemon");
            return Paragraph::new(text).render(area, buffer);
        };
        let drawn = if area.height >= TALL && !self.as_text { 4 } else { 0 };
        let reasons = (live.drops.len() + live.losses.len()).clamp(1, 30) as u16 + 2;
        let lists = area.height.saturating_sub(7 + drawn);
        let below = if self.as_text { reasons } else { reasons.clamp(6, (lists / 2).max(6)) };
        let [title, traffic, chart, middle, drops, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(5),
            Constraint::Length(drawn),
            Constraint::Min(8),
            Constraint::Length(below),
            Constraint::Length(u16::from(!self.as_text)),
        ])
        .areas(area);
        self.title(live, title, buffer);
        traffic_table(live).render(traffic, buffer);
        self.chart(chart, buffer);
        let [left, right] = Layout::horizontal([Constraint::Percentage(54), Constraint::Percentage(46)])
            .spacing(1)
            .areas(middle);
        let tables = live.instances.iter().map(|one| one.tables.len().max(1)).sum::<usize>() as u16 + 2;
        let [instances, pool4] =
            Layout::vertical([Constraint::Length(tables.min(left.height / 2).max(4)), Constraint::Min(3)])
                .areas(left);
        instance_table(live).render(instances, buffer);
        pool4_table(live).render(pool4, buffer);
        let threads = live.threads.iter().filter(|one| one.worker).count() as u16 + 2;
        let [sources, load] =
            Layout::vertical([Constraint::Min(4), Constraint::Length(threads.min(right.height / 2))])
                .areas(right);
        self.sources(live).render(sources, buffer);
        load_table(live).render(load, buffer);
        reason_table(live).render(drops, buffer);
        self.foot(foot, buffer);
        if self.help {
            help(area, buffer);
        }
    }
}

impl View {
    fn title(&self, live: &Live, area: Rect, buffer: &mut Buffer) {
        let state = match (&self.trouble, live.ready) {
            (Some(trouble), _) => Span::from(format!("no answer: {trouble}")).red().bold(),
            (None, true) => Span::from("translating").green().bold(),
            (None, false) => Span::from("not translating").red().bold(),
        };
        let mut words = vec![
            Span::from("xlat ").bold(),
            Span::from(format!("{} on {}  ", live.version, live.device)),
            state,
            Span::from(format!("  up {}", duration(live.uptime))),
        ];
        if self.paused {
            words.push(Span::from("  held still (p)").yellow().bold());
        }
        Line::from(words).render(area, buffer);
    }

    fn chart(&self, area: Rect, buffer: &mut Buffer) {
        if area.height < 2 {
            return;
        }
        let most = self.history.iter().copied().max().unwrap_or(0);
        let title = format!("Throughput, most {}", scaled(most as f64, "bit/s"));
        let block = titled(title);
        let inner = block.inner(area);
        block.render(area, buffer);
        let skip = self.history.len().saturating_sub(usize::from(inner.width));
        let seen = self.history.iter().skip(skip).copied();
        Sparkline::default().data(seen).style(Style::new().fg(Color::Cyan)).render(inner, buffer);
    }

    fn sources(&self, live: &Live) -> Table<'static> {
        let mut list = live.sources.list.clone();
        if self.sort == Sort::BibEntries {
            list.sort_by_key(|one| Reverse((one.bib_entries, one.sessions)));
        }
        let rows = list
            .into_iter()
            .map(|one| cells([one.address.to_string()], [whole(one.sessions), whole(one.bib_entries)]));
        let title = format!("Busiest sources by {}", self.sort.word());
        table(rows, ["source"], ["sessions", "BIB"], title, [Constraint::Fill(1)], 9)
    }

    fn foot(&self, area: Rect, buffer: &mut Buffer) {
        let keys = [("q", "quit"), ("p", "hold still"), ("s", "sort sources"), ("?", "help")];
        let words = keys.into_iter().flat_map(|(key, what)| {
            [
                Span::from(format!(" {key} ")).add_modifier(Modifier::REVERSED),
                Span::from(format!(" {what}  ")),
            ]
        });
        Line::from_iter(words).render(area, buffer);
    }
}

/// A heading over a line.
fn titled(title: String) -> Block<'static> {
    Block::new()
        .borders(Borders::TOP)
        .border_style(Style::new().dim())
        .title(Line::from(format!("{title} ")).bold().not_dim())
}

/// Cells of words, then of numbers, which stand at the right.
fn cells<const W: usize, const N: usize>(words: [String; W], numbers: [String; N]) -> Row<'static> {
    let words = words.into_iter().map(Cell::from);
    Row::new(words.chain(numbers.into_iter().map(|number| Cell::from(Line::from(number).right_aligned()))))
}

/// A table of columns of words, with their widths, and of numbers, all of one width.
fn table<const W: usize, const N: usize>(
    rows: impl Iterator<Item = Row<'static>>,
    words: [&str; W],
    numbers: [&str; N],
    title: String,
    widths: [Constraint; W],
    number: u16,
) -> Table<'static> {
    let head = cells(words.map(str::to_owned), numbers.map(str::to_owned)).style(Style::new().dim());
    let widths = widths.into_iter().chain([Constraint::Length(number); N]);
    Table::new(rows, widths).header(head).block(titled(title)).column_spacing(1)
}

fn traffic_table(live: &Live) -> Table<'static> {
    let path = |name: &str, path: &Directions| {
        let numbers = [path.from6, path.from4]
            .map(|flow| [scaled(flow.bit_rate, "bit/s"), scaled(flow.packet_rate, "p/s")]);
        cells([name.to_owned()], flat(numbers))
    };
    let (bits, packets) = (live.bit_rates(), live.packet_rates());
    let all = [(bits.0, packets.0), (bits.1, packets.1)];
    let all = all.map(|(bits, packets)| [scaled(bits, "bit/s"), scaled(packets, "p/s")]);
    let share = match (live.fast_path, live.kernel_share) {
        (None, _) => "no fast path".to_owned(),
        (Some(_), None) => "idle".to_owned(),
        (Some(_), Some(share)) => format!("{} in the kernel", percent(share)),
    };
    let flows = live.fast_path.map_or_else(String::new, |kernel| {
        format!(", {} flows, {} MiB", whole(kernel.flows), kernel.memory >> 20)
    });
    let rows = [
        path("kernel", &live.kernel),
        path("daemon", &live.daemon),
        cells(["all".to_owned()], flat(all)).style(Style::new().bold()),
    ];
    let title = format!("Traffic: {share}{flows}");
    let heads = ["IPv6 to IPv4", "", "IPv4 to IPv6", ""];
    table(rows.into_iter(), [""], heads, title, [Constraint::Length(8)], 14)
}

fn flat([[a, b], [c, d]]: [[String; 2]; 2]) -> [String; 4] {
    [a, b, c, d]
}

fn instance_table(live: &Live) -> Table<'static> {
    let rows = live.instances.iter().flat_map(|one| {
        let name = |place: usize| if place == 0 { one.name.clone() } else { String::new() };
        let mut rows: Vec<Row<'static>> = one
            .tables
            .iter()
            .enumerate()
            .map(|(place, table)| {
                let numbers = [whole(table.sessions), rate(table.set_up_rate), whole(table.bib_entries)];
                cells([name(place), table.protocol.label().to_owned()], numbers)
            })
            .collect();
        if rows.is_empty() {
            rows.push(cells([name(0), "SIIT".to_owned()], ["-", "-", "-"].map(str::to_owned)));
        }
        rows
    });
    let widths = [Constraint::Fill(1), Constraint::Length(5)];
    let heads = ["sessions", "new/s", "BIB"];
    table(rows, ["instance", ""], heads, "Sessions".to_owned(), widths, 8)
}

fn pool4_table(live: &Live) -> Table<'static> {
    let rows = live.pool4.iter().map(|one| {
        let part = one.used as f64 / one.total.max(1) as f64;
        let style = match part {
            part if part >= 0.9 => Style::new().red(),
            part if part >= 0.7 => Style::new().yellow(),
            _enough_left => Style::new(),
        };
        let words = [one.address.to_string(), one.protocol.label().to_owned()];
        cells(words, [percent(part), whole(one.used), whole(one.total)]).style(style)
    });
    let widths = [Constraint::Fill(1), Constraint::Length(5)];
    let title = match live.pool4_unlisted {
        0 => "Use of pool4".to_owned(),
        more => format!("Use of pool4 ({} more)", whole(more as u64)),
    };
    table(rows, ["address", ""], ["", "used", "of"], title, widths, 7)
}

fn load_table(live: &Live) -> Table<'static> {
    let workers = live.threads.iter().filter(|one| one.worker);
    let rows = workers.map(|one| cells([one.name.clone()], [percent(one.load)]));
    table(rows, ["worker"], ["busy"], "Load".to_owned(), [Constraint::Fill(1)], 9)
}

fn reason_table(live: &Live) -> Table<'static> {
    let row = |one: &Reason| {
        let style = if one.rate > 0.0 { Style::new().yellow() } else { Style::new() };
        let numbers =
            [rate(one.rate), whole(one.count)].map(|text| Cell::from(Line::from(text).right_aligned()));
        let [now, all] = numbers;
        Row::new([now, all, Cell::from(one.name.clone()), Cell::from(one.explanation.clone())]).style(style)
    };
    let head = ["per s", "in all"].map(|text| Cell::from(Line::from(text).right_aligned()));
    let [now, all] = head;
    let head =
        Row::new([now, all, Cell::from("reason"), Cell::from("what it means")]).style(Style::new().dim());
    let rows = live.drops.iter().chain(&live.losses).map(row);
    let widths = [Constraint::Length(7), Constraint::Length(9), Constraint::Length(22), Constraint::Fill(1)];
    Table::new(rows, widths)
        .header(head)
        .block(titled("Not translated, and why".to_owned()))
        .column_spacing(1)
}

fn help(area: Rect, buffer: &mut Buffer) {
    const TEXT: &str = "\
q, Esc   quit
p        hold the picture still, and go on
s        sort the sources: by sessions, by BIB entries
?, h     this page

The kernel translates known flows by itself; what is new or unusual comes to the daemon, which counts a super-packet as one \
packet. Rates are those of the last second. Sources are found by a walk over the tables, which takes longer where they are \
large. `xlat capture` shows packets that are not translated, docs/drop-reasons.md explains each reason.";
    let (width, height) = (area.width.min(72), area.height.min(14));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    let block = Block::bordered().title(" Help ");
    Paragraph::new(TEXT).wrap(Wrap { trim: false }).block(block).render(place, buffer);
}
