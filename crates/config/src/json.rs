//! JSON (RFC 8259) as Jool reads it: text after the root value is ignored, keys may repeat (the reader refuses known
//! ones), and a syntax error shows where the parser "got confused".

use std::borrow::Cow;

use crate::diagnostic::shown;
use crate::node::{Member, Node, Span, SyntaxError, Value};

/// Arrays and objects inside each other.
const DEPTH_MAX: usize = 64;

/// Parses the first value of `text`.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, SyntaxError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    parser.blanks();
    parser.value()
}

struct Parser<'t> {
    text: &'t str,
    /// Byte index, always on a character boundary.
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn value(&mut self) -> Result<Node<'t>, SyntaxError> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Boolean(true))?,
            Some(b'f') => self.word("false", Value::Boolean(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(_) => return Err(self.confused("a value is expected here")),
            None => return Err(self.confused("the file ends where a value is expected")),
        };
        Ok(Node { span: Span::new(start, self.at), value })
    }

    fn nested(
        &mut self,
        parse: fn(&mut Self) -> Result<Value<'t>, SyntaxError>,
    ) -> Result<Value<'t>, SyntaxError> {
        if self.depth == DEPTH_MAX {
            return Err(self.confused("arrays and objects are nested too deeply"));
        }
        self.depth += 1;
        self.at += 1;
        let value = parse(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value<'t>, SyntaxError> {
        let mut members = Vec::new();
        self.blanks();
        if self.accept(b'}') {
            return Ok(Value::Table(members));
        }
        loop {
            self.blanks();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.confused("a key in double quotes is expected here"));
            }
            let key = self.string()?;
            let key_span = Span::new(start, self.at);
            self.blanks();
            if !self.accept(b':') {
                return Err(self.confused("':' is expected here, after the key"));
            }
            self.blanks();
            let node = self.value()?;
            members.push(Member { key, key_span, node });
            self.blanks();
            if self.accept(b'}') {
                return Ok(Value::Table(members));
            }
            if !self.accept(b',') {
                return Err(self.confused("',' or '}' is expected here"));
            }
        }
    }

    fn array(&mut self) -> Result<Value<'t>, SyntaxError> {
        let mut elements = Vec::new();
        self.blanks();
        if self.accept(b']') {
            return Ok(Value::Array(elements));
        }
        loop {
            self.blanks();
            elements.push(self.value()?);
            self.blanks();
            if self.accept(b']') {
                return Ok(Value::Array(elements));
            }
            if !self.accept(b',') {
                return Err(self.confused("',' or ']' is expected here"));
            }
        }
    }

    /// A string; borrowed from the text unless it has escapes.
    fn string(&mut self) -> Result<Cow<'t, str>, SyntaxError> {
        self.at += 1;
        let mut unescaped: Option<String> = None;
        loop {
            let start = self.at;
            let rest = &self.text.as_bytes()[start..];
            let plain = rest
                .iter()
                .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)
                .unwrap_or(rest.len());
            self.at += plain;
            let chunk = &self.text[start..self.at];
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(chunk),
                        Some(before) => Cow::Owned(before + chunk),
                    });
                }
                Some(b'\\') => {
                    let string = unescaped.get_or_insert_default();
                    string.push_str(chunk);
                    string.push(self.escape()?);
                }
                _ => return Err(self.confused("the string does not end on its line")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let plain = match self.text.as_bytes().get(self.at + 1) {
            Some(&quoted @ (b'"' | b'\\' | b'/')) => char::from(quoted),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.confused("there is no such escape sequence")),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\uXXXX`, or two of them that make a surrogate pair; a lone surrogate becomes U+FFFD.
    fn unicode_escape(&mut self) -> Result<char, SyntaxError> {
        let Some(high) = self.hex4() else {
            return Err(self.confused("four hexadecimal digits are expected after \\u"));
        };
        self.at += 6;
        let mut code = high;
        if (0xD800..0xDC00).contains(&high)
            && let Some(low @ 0xDC00..0xE000) = self.hex4()
        {
            self.at += 6;
            code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        }
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&self) -> Option<u32> {
        let digits = self.text.get(self.at..)?.strip_prefix("\\u")?.get(..4)?;
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hexadecimal { u32::from_str_radix(digits, 16).ok() } else { None }
    }

    fn number(&mut self) -> Result<Value<'t>, SyntaxError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        if let Ok(integer) = digits.parse() {
            return Ok(Value::Integer(integer));
        }
        digits.parse().map(Value::Fraction).map_err(|_| {
            self.at = start;
            self.confused("this is not a number")
        })
    }

    fn word(&mut self, word: &str, value: Value<'t>) -> Result<Value<'t>, SyntaxError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.confused("a value is expected here; strings need double quotes"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn confused(&self, why: &str) -> SyntaxError {
        let rest = shown(&self.text[self.at..]);
        SyntaxError {
            span: Span::new(self.at, self.at + 1),
            message: format!("The JSON parser got confused around the beginning of this string: {rest}"),
            help: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> String {
        match parse(text).unwrap().value {
            Value::String(string) => string.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(string(r#""a\"\\\/\b\f\n\r\tz""#), "a\"\\/\u{8}\u{c}\n\r\tz");
        assert_eq!(string(r#""\u00e4\ud83d\ude00|\ud83d|""#), "ä\u{1f600}|\u{fffd}|");
        assert!(parse(r#""\u+123""#).is_err());
        assert!(parse("\"a\nb\"").is_err());
    }

    #[test]
    fn numbers() {
        assert!(matches!(parse("-12").unwrap().value, Value::Integer(-12)));
        assert!(matches!(parse("1.5e1").unwrap().value, Value::Fraction(x) if x == 15.0));
        assert!(parse("1-2").is_err());
    }

    #[test]
    fn depth_is_bounded_and_trailing_text_ignored() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert!(parse(&nested(DEPTH_MAX + 1)).is_err());
        assert!(parse(&"[".repeat(1_000_000)).is_err());
        assert!(parse("{} trailing").is_ok());
    }
}
