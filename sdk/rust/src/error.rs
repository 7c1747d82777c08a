//! What can go wrong: a code of the host, or the agent's own words.

use crate::abi;
use alloc::string::{String, ToString};
use core::fmt;

pub type Result<T> = core::result::Result<T, Error>;
/// What a turn ends with. An error is a failed message: what the turn did is undone, and the sender reads its text.
pub type Outcome = Result<()>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    InvalidMessage,
    NoReceiver,
    MailboxFull,
    TooLarge,
    Stopped,
    TooManyHops,
    OutOfMemory,
    Limit,
    StoreFailed,
    InvalidArgument,
    Quota,
    Unavailable,
    /// A tool was called and failed; or `Error::new`, or a value that is not what the agent needs.
    Failed,
}

impl Code {
    /// The name that every SDK has for it, such as `no-receiver`.
    pub fn name(self) -> &'static str {
        match self {
            Code::InvalidMessage => "invalid-message",
            Code::NoReceiver => "no-receiver",
            Code::MailboxFull => "mailbox-full",
            Code::TooLarge => "too-large",
            Code::Stopped => "stopped",
            Code::TooManyHops => "too-many-hops",
            Code::OutOfMemory => "out-of-memory",
            Code::Limit => "limit",
            Code::StoreFailed => "store-failed",
            Code::InvalidArgument => "invalid-argument",
            Code::Quota => "quota",
            Code::Unavailable => "unavailable",
            Code::Failed => "failed",
        }
    }

    fn of(number: i32) -> Code {
        match number {
            -1 => Code::InvalidMessage,
            -2 => Code::NoReceiver,
            -3 => Code::MailboxFull,
            -4 => Code::TooLarge,
            -5 => Code::Stopped,
            -6 => Code::TooManyHops,
            -7 => Code::OutOfMemory,
            -8 => Code::Limit,
            -9 => Code::StoreFailed,
            -102 => Code::InvalidArgument,
            -103 => Code::Quota,
            -104 => Code::Unavailable,
            _ => Code::Failed,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Error {
    pub code: Code,
    pub text: String,
}

impl Error {
    pub fn new(text: impl Into<String>) -> Error {
        Error { code: Code::Failed, text: text.into() }
    }

    pub(crate) fn with(code: Code, text: &str) -> Error {
        Error { code, text: text.to_string() }
    }

    /// Of a host function's negative result; the host has the sentence.
    pub(crate) fn of(number: i32) -> Error {
        let mut room = [0u8; 256];
        // SAFETY: the host writes at most as many bytes as it is given
        let length = unsafe { abi::last_error(room.as_mut_ptr(), room.len()) };
        let said = &room[..(length.max(0) as usize).min(room.len())];
        Error { code: Code::of(number), text: String::from_utf8_lossy(said).into_owned() }
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Error {
        Error::new(text)
    }
}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error::new(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.text)
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Error {}

/// A host function's result: how many, or an error.
pub(crate) fn check(result: i32) -> Result<u32> {
    if result < 0 {
        Err(Error::of(result))
    } else {
        Ok(result as u32)
    }
}
