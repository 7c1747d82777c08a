//! JSON as it arrives and as it leaves: a value is a span of the text, read where it is needed and copied as it is.
//!
//! Rule 1: what arrives was checked by the host (JSON, UTF-8, no key twice), so the reader only has to stay inside it.
//! Rule 2: nothing is parsed into a tree; an answer that carries a value on copies its bytes.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// One JSON value: its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// A value from text that is known to be JSON, such as what `Context::get` gave.
    pub fn new(text: &'a str) -> Json<'a> {
        Json(text.trim())
    }

    /// The text itself.
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// A member of an object.
    pub fn get(self, name: &str) -> Option<Json<'a>> {
        self.members().find(|(key, _)| key.is(name)).map(|(_, value)| value)
    }

    /// An element of an array.
    pub fn at(self, index: usize) -> Option<Json<'a>> {
        self.items().nth(index)
    }

    /// The elements of an array; none of anything else.
    pub fn items(self) -> impl Iterator<Item = Json<'a>> {
        let mut walk = Walk::inside(self.0, b'[');
        core::iter::from_fn(move || walk.value())
    }

    /// The members of an object; none of anything else.
    pub fn members(self) -> impl Iterator<Item = (Json<'a>, Json<'a>)> {
        let mut walk = Walk::inside(self.0, b'{');
        core::iter::from_fn(move || {
            let key = walk.value()?;
            Some((key, walk.value()?))
        })
    }

    /// A string, decoded.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if inner.bytes().any(|byte| byte == b'\\') {
            unescape(inner).map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    pub fn number(self) -> Option<f64> {
        match self.0.as_bytes().first()? {
            b'-' | b'0'..=b'9' => self.0.parse().ok(),
            _ => None,
        }
    }

    pub fn integer(self) -> Option<i64> {
        self.0.parse().ok()
    }

    pub fn boolean(self) -> Option<bool> {
        self.0.parse().ok()
    }

    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Is it this string?
    pub fn is(self, plain: &str) -> bool {
        match self.text() {
            Some(text) => text == plain,
            None => false,
        }
    }
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    fn inside(text: &'a str, bracket: u8) -> Walk<'a> {
        let at = if text.as_bytes().first() == Some(&bracket) { 1 } else { text.len() };
        Walk { text, at }
    }

    /// The next value or key.
    fn value(&mut self) -> Option<Json<'a>> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':')) {
            self.at += 1;
        }
        if matches!(bytes.get(self.at), None | Some(b'}' | b']')) {
            return None;
        }
        let start = self.at;
        self.at = end_of(bytes, start);
        // what ends a value is ASCII, so both are on the border of a character
        Some(Json(&self.text[start..self.at]))
    }
}

/// Behind the value that starts at *at*: nesting is counted, not recursed into.
fn end_of(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at + 1),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            _ if depth == 0 => {
                while !matches!(bytes.get(at), None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')) {
                    at += 1;
                }
                return at;
            }
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at.min(bytes.len());
        }
    }
    bytes.len()
}

/// From behind an opening quote to behind the closing one; eight bytes at a time, for messages are mostly strings.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    loop {
        while let Some(eight) = bytes.get(at..at + 8) {
            let mut word = [0; 8];
            word.copy_from_slice(eight);
            let word = u64::from_le_bytes(word);
            let quote = word ^ (ONES * b'"' as u64);
            let slash = word ^ (ONES * b'\\' as u64);
            let found = ((quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash)) & HIGH;
            if found != 0 {
                at += (found.trailing_zeros() >> 3) as usize;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    let mut code = 0;
    for &byte in bytes.get(..4)? {
        code = code << 4 | (byte as char).to_digit(16)?;
    }
    Some(code)
}

fn unescape(inner: &str) -> Option<String> {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(slash) = rest.find('\\') {
        out.push_str(&rest[..slash]);
        rest = &rest[slash + 1..];
        let kind = *rest.as_bytes().first()?;
        if kind != b'u' {
            out.push(match kind {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'"' | b'\\' | b'/' => kind as char,
                _ => return None,
            });
            rest = &rest[1..];
            continue;
        }
        let mut code = hex4(&rest.as_bytes()[1..])?;
        rest = &rest[5..];
        if (0xd800..0xdc00).contains(&code) && rest.starts_with("\\u") {
            let low = hex4(&rest.as_bytes()[2..])?;
            if (0xdc00..0xe000).contains(&low) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                rest = &rest[6..];
            }
        }
        out.push(char::from_u32(code)?); // None: half a character
    }
    out.push_str(rest);
    Some(out)
}

/// What can be the content of a message, a value in the state, an argument of a tool.
pub trait Content {
    fn write(&self, out: &mut String);

    fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// Plain text as a JSON string.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte != b'"' && byte != b'\\' && byte >= 0x20 {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + 1;
        if byte < 0x20 {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.push_str("\\u00");
            out.push(DIGITS[(byte >> 4) as usize] as char);
            out.push(DIGITS[(byte & 15) as usize] as char);
        } else {
            out.push('\\');
            out.push(byte as char);
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

impl Content for str {
    fn write(&self, out: &mut String) {
        quote(self, out);
    }
}

impl Content for String {
    fn write(&self, out: &mut String) {
        quote(self, out);
    }
}

impl Content for Json<'_> {
    fn write(&self, out: &mut String) {
        out.push_str(self.0);
    }
}

impl Content for bool {
    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl Content for f64 {
    fn write(&self, out: &mut String) {
        use core::fmt::Write;
        if self.is_finite() {
            let _ = write!(out, "{}", self);
        } else {
            out.push_str("null"); // JSON has no other word for it
        }
    }
}

macro_rules! integers {
    ($($kind:ty)*) => {
        $(impl Content for $kind {
            fn write(&self, out: &mut String) {
                use core::fmt::Write;
                let _ = write!(out, "{}", self);
            }
        })*
    };
}

integers!(i32 u32 i64 u64 usize);

impl<T: Content> Content for Option<T> {
    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("null"),
        }
    }
}

impl<T: Content> Content for [T] {
    fn write(&self, out: &mut String) {
        out.push('[');
        for (index, value) in self.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            value.write(out);
        }
        out.push(']');
    }
}

impl<T: Content> Content for Vec<T> {
    fn write(&self, out: &mut String) {
        self.as_slice().write(out);
    }
}

impl<T: Content + ?Sized> Content for &T {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

/// A JSON object in the making: `object().with("price", 7).with("item", "book")`.
#[derive(Clone, Debug)]
pub struct Object(String);

pub fn object() -> Object {
    Object(String::from("{"))
}

impl Object {
    pub fn with(mut self, name: &str, value: impl Content) -> Object {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        quote(name, &mut self.0);
        self.0.push(':');
        value.write(&mut self.0);
        self
    }
}

impl Content for Object {
    fn write(&self, out: &mut String) {
        out.push_str(&self.0);
        out.push('}');
    }
}

/// A JSON array of values of several kinds; a `Vec` does for one kind.
#[derive(Clone, Debug, Default)]
pub struct Array(String);

impl Array {
    pub fn with(mut self, value: impl Content) -> Array {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        value.write(&mut self.0);
        self
    }
}

impl Content for Array {
    fn write(&self, out: &mut String) {
        out.push('[');
        out.push_str(&self.0);
        out.push(']');
    }
}
