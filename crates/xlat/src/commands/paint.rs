//! Colours: on a terminal, unless NO_COLOR, TERM or CLICOLOR say otherwise.

use anstyle::{AnsiColor, Style};

/// A colour that may be left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(Style);

/// Headers.
pub(crate) const BOLD: Paint = Paint(Style::new().bold());
/// What is of less interest.
pub(crate) const DIM: Paint = Paint(Style::new().dimmed());
/// What went wrong, or goes away.
pub(crate) const RED: Paint = Paint(AnsiColor::Red.on_default());
/// What is in order, or comes.
pub(crate) const GREEN: Paint = Paint(AnsiColor::Green.on_default());
/// What is about to change.
pub(crate) const YELLOW: Paint = Paint(AnsiColor::Yellow.on_default());

impl Paint {
    /// `{style}` begins it, `{style:#}` ends it.
    pub(crate) fn when(self, is_painted: bool) -> Style {
        if is_painted { self.0 } else { Style::new() }
    }
}

/// Whether standard output takes colours.
pub(crate) fn stdout() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// Whether standard error does.
pub(crate) fn stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}
