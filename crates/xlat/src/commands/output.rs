//! What commands print: tables as they come, aligned for people, as JSON lines or as comma-separated values. A reader that
//! has seen enough ends the program quietly.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use serde::de::DeserializeOwned;
use xlat_control::ClientError;

use super::paint::{self, Paint};
use super::progress::Progress;
use super::remote::Remote;
use super::trouble::Trouble;
use crate::cli::common::Show;

/// Rows that are kept to find out how wide the columns are; the others follow as they come.
const ALIGNED: usize = 1000;
/// Columns are that far apart.
const GAP: &str = "  ";

/// A row of a table.
pub(crate) trait Row: DeserializeOwned {
    /// The headers.
    const COLUMNS: &'static [Column];

    /// As many as there are columns.
    fn cells(&self) -> Vec<Cell>;
}

/// A header, and how its cells stand.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) is_right: bool,
}

/// Words, from the left.
pub(crate) const fn left(title: &'static str) -> Column {
    Column { title, is_right: false }
}

/// Numbers, from the right.
pub(crate) const fn right(title: &'static str) -> Column {
    Column { title, is_right: true }
}

/// One cell.
pub(crate) struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl Cell {
    pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self { text: text.into(), paint: Some(paint) }
    }
}

/// A cell of something that can be shown.
pub(crate) fn cell(shown: impl std::fmt::Display) -> Cell {
    Cell { text: shown.to_string(), paint: None }
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv,
    Human,
}

impl Form {
    pub(crate) fn of(show: &Show) -> Self {
        match (show.to.json, show.csv) {
            (true, _) => Self::Json,
            (false, true) => Self::Csv,
            (false, false) => Self::Human,
        }
    }
}

/// A table on its way to a reader.
pub(crate) struct Printer<W: Write> {
    out: BufWriter<W>,
    form: Form,
    has_headers: bool,
    is_painted: bool,
    /// Rows left until there are as many as wanted.
    left: u64,
    progress: Progress,
}

impl<W: Write> Printer<W> {
    pub(crate) fn new(out: W, show: &Show, is_painted: bool) -> Self {
        Self {
            out: BufWriter::new(out),
            form: Form::of(show),
            has_headers: !show.no_headers,
            is_painted,
            left: show.limit.unwrap_or(u64::MAX),
            progress: Progress::rows(),
        }
    }

    /// Prints tables of one kind, one below the other under one header.
    pub(crate) async fn tables<R: Row>(
        &mut self,
        remote: &Remote,
        paths: impl IntoIterator<Item = String>,
        is_wanted: Option<impl Fn(&R) -> bool>,
    ) -> Result<(), Trouble> {
        let (mut kept, mut widths): (Vec<R>, Option<Vec<usize>>) = (Vec::new(), None);
        let mut has_begun = false;
        for path in paths {
            let mut rows = remote.rows(&path).await?;
            if self.form == Form::Csv && !has_begun {
                self.csv_headers(R::COLUMNS)?;
            }
            has_begun = true;
            while self.left > 0 {
                if self.form == Form::Json && is_wanted.is_none() {
                    let Some(line) = rows.line().await? else { break };
                    self.line(line)?;
                    continue;
                }
                let Some(line) = rows.line().await? else { break };
                let row: R = serde_json::from_slice(line).map_err(unreadable)?;
                if is_wanted.as_ref().is_some_and(|is_wanted| !is_wanted(&row)) {
                    continue;
                }
                match (self.form, &widths) {
                    (Form::Json, _) => self.line(line)?,
                    (Form::Csv, _) => self.csv(&row)?,
                    (Form::Human, Some(widths)) => self.aligned(&row, widths)?,
                    (Form::Human, None) => {
                        kept.push(row);
                        self.count();
                        if kept.len() == ALIGNED {
                            widths = Some(self.begin(&mut kept)?);
                        }
                    }
                }
            }
        }
        if self.form == Form::Human && widths.is_none() {
            self.begin(&mut kept)?;
        }
        self.progress.done();
        Ok(self.out.flush()?)
    }

    fn count(&mut self) {
        self.left -= 1;
        self.progress.step();
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.count();
        self.out.write_all(line)?;
        self.out.write_all(b"\n")
    }

    fn csv_headers(&mut self, columns: &[Column]) -> io::Result<()> {
        let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
        if self.has_headers { writeln!(self.out, "{}", titles.join(",")) } else { Ok(()) }
    }

    fn csv<R: Row>(&mut self, row: &R) -> io::Result<()> {
        let quoted = |cell: Cell| match cell.text.contains([',', '"', '\n']) {
            true => format!("\"{}\"", cell.text.replace('"', "\"\"")),
            false => cell.text,
        };
        let cells: Vec<String> = row.cells().into_iter().map(quoted).collect();
        self.count();
        writeln!(self.out, "{}", cells.join(","))
    }

    /// Prints header and first rows; the widths hold for those that follow.
    fn begin<R: Row>(&mut self, kept: &mut Vec<R>) -> io::Result<Vec<usize>> {
        let mut widths: Vec<usize> = match self.has_headers {
            true => R::COLUMNS.iter().map(|column| column.title.len()).collect(),
            false => vec![0; R::COLUMNS.len()],
        };
        for row in kept.iter() {
            for (width, cell) in widths.iter_mut().zip(row.cells()) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        if self.has_headers {
            let header =
                R::COLUMNS.iter().map(|column| Cell::painted(column.title, paint::BOLD)).collect::<Vec<_>>();
            self.cells(R::COLUMNS, &header, &widths)?;
        }
        for row in std::mem::take(kept) {
            self.cells(R::COLUMNS, &row.cells(), &widths)?;
        }
        Ok(widths)
    }

    fn aligned<R: Row>(&mut self, row: &R, widths: &[usize]) -> io::Result<()> {
        self.count();
        self.cells(R::COLUMNS, &row.cells(), widths)
    }

    fn cells(&mut self, columns: &[Column], cells: &[Cell], widths: &[usize]) -> io::Result<()> {
        let last = columns.len().saturating_sub(1);
        for (at, ((column, cell), &width)) in columns.iter().zip(cells).zip(widths).enumerate() {
            let style = cell.paint.map(|paint| paint.when(self.is_painted)).unwrap_or_default();
            let gap = if at == 0 { "" } else { GAP };
            let text = match (column.is_right, at == last) {
                (true, _) => format!("{:>width$}", cell.text),
                // No blanks at the end of a line.
                (false, true) => cell.text.clone(),
                (false, false) => format!("{:<width$}", cell.text),
            };
            write!(self.out, "{gap}{style}{text}{style:#}")?;
        }
        writeln!(self.out)
    }
}

fn unreadable(why: serde_json::Error) -> Trouble {
    ClientError::Broken(why.to_string()).into()
}

/// Prints text. A reader that has gone ends the program with success: it has what it wanted.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_else(closed)
}

/// No error where the reader has gone.
pub(crate) fn closed(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => std::process::exit(0),
        _ => Err(error),
    }
}

/// Standard output that ends the program where its reader has gone.
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).or_else(|error| closed(error).map(|()| bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().or_else(closed)
    }
}

/// Whether a person sees what is printed.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
