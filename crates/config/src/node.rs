//! The value tree that both file formats are parsed into: values with their places, nothing interpreted.

use std::borrow::Cow;
use std::ops::Range;

/// Bytes of the file. Files are far below 4 GiB ([`crate::FILE_BYTES_MAX`]), and a million table entries each have several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let narrow = |index| u32::try_from(index).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(crate) fn bytes(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One value and where it stands.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) span: Span,
    pub(crate) value: Value<'t>,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Value<'t> {
    Null,
    Boolean(bool),
    Integer(i128),
    Fraction(f64),
    String(Cow<'t, str>),
    /// TOML only; no option takes one.
    DateTime,
    Array(Vec<Node<'t>>),
    Table(Vec<Member<'t>>),
}

/// One key with its value. Keys may repeat here; the reader refuses that.
#[derive(Debug)]
pub(crate) struct Member<'t> {
    pub(crate) key: Cow<'t, str>,
    pub(crate) key_span: Span,
    pub(crate) node: Node<'t>,
}

/// The file does not follow its format's grammar.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: String,
}
