//! TOML to the value tree; the grammar is the `toml` crate's, which also bounds the nesting.

use toml::de::{DeTable, DeValue, Error};

use crate::node::{Member, Node, Span, SyntaxError, Value};

/// Parses a whole document; on errors all of them.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, Vec<SyntaxError>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| syntax_error(error, text)).collect());
    }
    let span = Span::new(0, 0);
    Ok(Node { span, value: table(root.into_inner()) })
}

fn table(table: DeTable<'_>) -> Value<'_> {
    let members = table.into_iter().map(|(key, value)| {
        let key_span = Span::new(key.span().start, key.span().end);
        Member { key: key.into_inner(), key_span, node: node(value) }
    });
    Value::Table(members.collect())
}

fn node(value: toml::Spanned<DeValue<'_>>) -> Node<'_> {
    let span = Span::new(value.span().start, value.span().end);
    let value = match value.into_inner() {
        DeValue::String(string) => Value::String(string),
        // Integers beyond the widest type are beyond every option too.
        DeValue::Integer(integer) => {
            Value::Integer(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
        }
        DeValue::Float(float) => Value::Fraction(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(_) => Value::DateTime,
        DeValue::Array(array) => Value::Array(array.into_iter().map(node).collect()),
        DeValue::Table(inner) => table(inner),
    };
    Node { span, value }
}

fn syntax_error(error: &Error, text: &str) -> SyntaxError {
    let span = error.span().unwrap_or(text.len()..text.len());
    SyntaxError {
        span: Span::new(span.start, span.end),
        message: error.message().to_owned(),
        help:
            "the file is read as TOML (it does not begin with '{'); texts need quotes, keys and values an '='"
                .to_owned(),
    }
}
