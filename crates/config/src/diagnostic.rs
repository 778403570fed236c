//! What is wrong with a configuration, where, and what to do about it; as a person reads it.

use std::fmt;
use std::ops::Range;

/// Diagnostics kept per file; the rest is only counted.
pub(crate) const DIAGNOSTICS_MAX: usize = 50;

/// Characters of a source line shown around a place.
const EXCERPT_CHARS: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It works, though perhaps not as meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, one sentence without full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Which part of the configuration is meant.
    pub place: Place,
    /// Where that part stands in its file; `None` as long as no file is known.
    pub location: Option<Location>,
}

impl Diagnostic {
    /// An error about `place`.
    pub fn error(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            help: Some(help.into()),
            place,
            location: None,
        }
    }

    /// A warning about `place`.
    pub fn warning(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message, help) }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        match &self.location {
            Some(at) => {
                write!(f, "{}:{}:{}: {severity}: {}", at.file, at.line, at.column, self.message)?;
                let number = at.line.to_string();
                let (left, carets) = (" ".repeat(at.caret.start), "^".repeat(at.caret.len().max(1)));
                write!(f, "\n  {number} | {}", at.excerpt)?;
                write!(f, "\n  {} | {left}{carets}", " ".repeat(number.len()))?;
            }
            None => write!(f, "{severity}: {}", self.message)?,
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// A part of a [`crate::Config`], by indices into its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The whole file.
    File,
    /// An option of the fast path, by its key.
    FastPath(&'static str),
    /// An option of the device, by its key.
    Device(&'static str),
    /// The whole of an instance.
    Instance(usize),
    /// An option of an instance, by its key; the instance itself where the option is not in the file.
    Option(usize, &'static str),
    /// An element of a list of an instance.
    Element(usize, List, usize),
}

/// The lists of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `eamt`
    Eamt,
    /// `denylist4`
    Denylist4,
    /// `pool4`
    Pool4,
    /// `bib`
    Bib,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file's name as given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Bytes of the file.
    pub span: Range<usize>,
    /// The line, or the part of it around the place.
    excerpt: String,
    /// The place within the excerpt, in characters.
    caret: Range<usize>,
}

impl Location {
    /// Works out line, column and excerpt of the bytes `span` of `text`; spans outside the text are moved into it.
    pub(crate) fn new(file: &str, text: &str, span: Range<usize>) -> Self {
        let start = char_boundary(text, span.start);
        let end = char_boundary(text, span.end).max(start);
        let (before, after) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = start + after.find(['\n', '\r']).unwrap_or(after.len());
        let line = 1 + before.bytes().filter(|&byte| byte == b'\n').count();
        let (left, right) = (&text[line_start..start], &text[start..line_end]);
        let column = 1 + left.chars().count();
        let room = EXCERPT_CHARS.saturating_sub(right.chars().count()).max(EXCERPT_CHARS / 2);
        let shown_left: Vec<char> = left.chars().rev().take(room).collect();
        let shown_right: Vec<char> = right.chars().take(EXCERPT_CHARS - shown_left.len()).collect();
        let width = text[start..end.min(line_end).max(start)].chars().count().min(shown_right.len());
        let excerpt = shown_left.iter().rev().chain(&shown_right).map(|&c| printable(c)).collect();
        let caret = shown_left.len()..shown_left.len() + width;
        Self { file: file.to_owned(), line, column, span: start..end, excerpt, caret }
    }
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// In file order, at most 50.
    pub list: Vec<Diagnostic>,
    /// How many more there were.
    pub omitted: usize,
}

impl Diagnostics {
    /// Whether an error is among them.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Adds one, or only counts it when there are enough. An error is kept at the cost of a warning.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < DIAGNOSTICS_MAX {
            self.list.push(diagnostic);
            return;
        }
        self.omitted += 1;
        if diagnostic.severity == Severity::Error
            && let Some(warning) = self.list.iter_mut().find(|kept| kept.severity == Severity::Warning)
        {
            *warning = diagnostic;
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// `text` as it may appear in a message: no control characters, at most 60 characters.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut short: String = text.chars().take(SHOWN).map(printable).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    short
}

/// The candidate closest to `word`, if it is close enough to be meant.
pub(crate) fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word.to_lowercase(), candidate);
    let best = candidates.into_iter().min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= 1 + best.len() / 4).then_some(best)
}

/// The last character boundary at or before `index`.
fn char_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_counts_characters_and_survives_any_span() {
        let text = "ä = 1\nöö = ß x\n";
        let at = Location::new("f", text, text.find('ß').unwrap()..text.find('x').unwrap());
        assert_eq!((at.line, at.column, at.excerpt.as_str(), at.caret.clone()), (2, 6, "öö = ß x", 5..7));
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 3 {
                let _ = Location::new("f", text, start..end);
            }
        }
    }

    #[test]
    fn suggestions_are_close() {
        assert_eq!(suggestion("pol6", ["pool4", "pool6", "tos"]), Some("pool6"));
        assert_eq!(suggestion("elephant", ["pool4", "pool6", "tos"]), None);
    }

    #[test]
    fn errors_displace_warnings_when_full() {
        let mut all = Diagnostics::default();
        for _ in 0..DIAGNOSTICS_MAX {
            all.push(Diagnostic::warning(Place::File, "w", "h"));
        }
        assert!(!all.has_errors());
        all.push(Diagnostic::error(Place::File, "e", "h"));
        assert!(all.has_errors());
        assert_eq!((all.list.len(), all.omitted), (DIAGNOSTICS_MAX, 1));
    }
}
