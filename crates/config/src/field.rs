//! A value of the tree on its way to a typed one: the type checks, with Jool's wording of what is wrong.

use crate::diagnostic::shown;
use crate::node::{Node, Span, Value};
use crate::value::Problem;

/// A problem and where it is.
pub(crate) type Fault = (Span, Problem);

/// A value under its key.
#[derive(Clone, Copy)]
pub(crate) struct Field<'n, 't> {
    /// The key as the messages name it.
    pub(crate) name: &'n str,
    pub(crate) node: &'n Node<'t>,
    /// The whole file.
    pub(crate) text: &'n str,
    /// Whether fractions are cut off where integers are expected.
    pub(crate) lax: bool,
}

impl<'n, 't> Field<'n, 't> {
    pub(crate) fn boolean(self) -> Result<bool, Fault> {
        match self.node.value {
            Value::Boolean(boolean) => Ok(boolean),
            _ => Err(self.mistyped("boolean", "write true or false, without quotes")),
        }
    }

    /// An integer within the bounds, both included.
    pub(crate) fn integer(self, min: u64, max: u64) -> Result<u64, Fault> {
        let integer = match self.node.value {
            Value::Integer(integer) => integer,
            // Truncation is meant; what is out of range saturates and is refused below.
            Value::Fraction(fraction) if self.lax && !fraction.is_nan() => fraction as i128,
            _ => return Err(self.mistyped("integer", "write a number, without quotes")),
        };
        let within = u64::try_from(integer).ok().filter(|integer| (min..=max).contains(integer));
        within.ok_or_else(|| {
            let message = format!("{} {} is out of range ({min}-{max}).", self.name, self.source());
            self.fault(Problem::new(message, format!("write a number from {min} to {max}")))
        })
    }

    pub(crate) fn string(self) -> Result<&'n str, Fault> {
        match &self.node.value {
            Value::String(string) => Ok(string),
            _ => Err(self.mistyped("string", "write it in double quotes")),
        }
    }

    /// A string in a notation of [`crate::value`].
    pub(crate) fn parsed<T>(self, parse: fn(&str) -> Result<T, Problem>) -> Result<T, Fault> {
        parse(self.string()?).map_err(|problem| self.fault(problem))
    }

    /// Like [`Self::parsed`], but `null` and `"null"` mean none.
    pub(crate) fn nullable<T>(self, parse: fn(&str) -> Result<T, Problem>) -> Result<Option<T>, Fault> {
        match &self.node.value {
            Value::Null => Ok(None),
            Value::String(string) if string == "null" => Ok(None),
            _ => self.parsed(parse).map(Some),
        }
    }

    pub(crate) fn array(self) -> Result<&'n [Node<'t>], Fault> {
        match &self.node.value {
            Value::Array(elements) => Ok(elements),
            _ => Err(self.mistyped("array", "write it in square brackets, elements separated by commas")),
        }
    }

    /// The elements of an array as fields of the same name.
    pub(crate) fn elements(self) -> Result<impl Iterator<Item = Self>, Fault> {
        Ok(self.array()?.iter().map(move |node| Self { node, ..self }))
    }

    pub(crate) fn fault(self, problem: Problem) -> Fault {
        (self.node.span, problem)
    }

    pub(crate) fn mistyped(self, wanted: &str, help: &str) -> Fault {
        let message = match self.node.value {
            Value::Array(_) => {
                format!("The '{}' element appears to be an array, not a valid {wanted}.", self.name)
            }
            Value::Table(_) => {
                format!("The '{}' element appears to be an object, not a valid {wanted}.", self.name)
            }
            _ => format!("The '{}' element '{}' is not a valid {wanted}.", self.name, self.source()),
        };
        self.fault(Problem::new(message, help))
    }

    /// The value as the file has it, without quotes.
    fn source(self) -> String {
        shown(self.text.get(self.node.span.bytes()).unwrap_or_default().trim_matches(['"', '\'']))
    }
}
