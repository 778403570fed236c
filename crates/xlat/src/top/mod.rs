//! `xlat top`: the daemon's snapshots once a second in the terminal, or one of them as text.

mod numbers;
mod view;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::widgets::Widget as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use xlat_control::live::Live;
use xlat_control::{Client, Lines};

use crate::cli;
use crate::commands::output::print;
use crate::commands::remote::PATIENCE;
use crate::commands::trouble::Trouble;
use crate::failure::{Failure, Outcome};
use view::View;

/// What is asked for.
const STREAM: &str = "/v1/live/stream";
/// Time between two attempts to reach a daemon that has gone.
const PAUSE: Duration = Duration::from_secs(1);
/// Size of a frame that is printed as text.
const TEXT: Rect = Rect { x: 0, y: 0, width: 100, height: 44 };

/// Shows what the daemon does until `q`; once, as text, where there is no terminal.
pub(crate) fn top(arguments: &cli::Top) -> Outcome<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(&arguments.device, rustix::process::geteuid().as_raw()).with_patience(PATIENCE);
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    runtime.block_on(async {
        let lines = match client.rows(STREAM).await {
            Ok(lines) => lines,
            Err(error) => return Ok(Trouble::from(error).tell(arguments.json)),
        };
        if arguments.json {
            return objects(lines, arguments.once).await.map(|()| ExitCode::SUCCESS);
        }
        if arguments.once || !is_terminal {
            return once(lines).await.map(|()| ExitCode::SUCCESS);
        }
        let mut terminal = ratatui::try_init()?;
        let shown = watch(&mut terminal, &client, lines).await;
        let restored = ratatui::try_restore();
        shown?;
        restored?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints snapshots for a program: one, or one a second until the daemon ends or nobody reads.
async fn objects(mut lines: Lines, once: bool) -> Outcome {
    loop {
        let live: Live = lines.next().await?.ok_or_else(|| Failure::new("the daemon has ended"))?;
        print(&format!("{}\n", serde_json::to_string(&live)?))?;
        if once {
            return Ok(());
        }
    }
}

/// Prints one frame.
async fn once(mut lines: Lines) -> Outcome {
    let Some(live) = lines.next().await? else { return Err(Failure::new("the daemon has ended")) };
    let view = View { live: Some(live), as_text: true, ..View::default() };
    match io::stdout().write_all(text(&view, TEXT).as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// A frame as text, without what is empty at the end.
fn text(view: &View, area: Rect) -> String {
    let mut buffer = Buffer::empty(area);
    view.render(area, &mut buffer);
    let row = |y| {
        let cells = (area.left()..area.right()).filter_map(|x| buffer.cell((x, y)));
        let text: String = cells.map(|cell| cell.symbol()).collect();
        text.trim_end().to_owned()
    };
    let mut rows: Vec<String> = (area.top()..area.bottom()).map(row).collect();
    // Room that only a terminal has.
    rows.dedup_by(|row, above| row.is_empty() && above.is_empty());
    format!("{}\n", rows.join("\n").trim_end())
}

/// Shows frames until told to end.
async fn watch(terminal: &mut DefaultTerminal, client: &Client, lines: Lines) -> Outcome {
    let mut keys = events();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut lines = Some(lines);
    let mut view = View::default();
    loop {
        terminal.draw(|frame| frame.render_widget(&view, frame.area()))?;
        tokio::select! {
            live = next(client, &mut lines) => match live {
                Ok(live) => view.show(live),
                Err(failure) => view.trouble = Some(failure.to_string()),
            },
            event = keys.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if press(&mut view, key) {
                        return Ok(());
                    }
                }
                // Another size, above all: the next frame has it.
                Some(_other) => {}
                None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// The next snapshot. After a failure the daemon is looked for again.
async fn next(client: &Client, lines: &mut Option<Lines>) -> Outcome<Live> {
    let source = match lines {
        Some(source) => source,
        None => {
            tokio::time::sleep(PAUSE).await;
            lines.insert(client.rows(STREAM).await?)
        }
    };
    let live = source.next().await;
    if !matches!(live, Ok(Some(_))) {
        *lines = None;
    }
    live?.ok_or_else(|| Failure::new("the daemon has ended"))
}

/// Does what a key means; true if that is to end.
fn press(view: &mut View, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return true,
        KeyCode::Char('q') => return true,
        KeyCode::Esc if !view.help => return true,
        KeyCode::Char('p' | ' ') => view.paused = !view.paused,
        KeyCode::Char('s') => view.sort = view.sort.next(),
        KeyCode::Char('?' | 'h') => view.help = !view.help,
        _other => view.help = false,
    }
    false
}

/// What is typed. The thread that waits for it ends with the process.
fn events() -> mpsc::UnboundedReceiver<Event> {
    let (sender, events) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    events
}

#[cfg(test)]
mod tests;
