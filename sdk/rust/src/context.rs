//! What an agent can ask of its host.

use crate::abi;
use crate::draft::Draft;
use crate::error::{check, Code, Error, Outcome, Result};
use crate::json::{object, Content};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const FIRST_ROOM: usize = 64 << 10; // of a tool's answer; a longer one costs a second call
const NOT_FOUND: i32 = -101;

/// Given to every method of an agent.
pub struct Context(pub(crate) ());

/// Who hears a broadcast.
pub enum Audience<'a> {
    Agents(&'a [&'a str]),
    Groups(&'a [&'a str]),
    Capabilities(&'a [&'a str]),
    /// The group `all`.
    All,
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

// SAFETY of every call below: pointer and length are of one live slice, and the host writes at most `room` bytes
impl Context {
    /// Send a message when the turn ends well.
    pub fn send(&self, draft: Draft) -> Outcome {
        let text = draft.finish();
        check(unsafe { abi::send_message(text.as_ptr(), text.len()) }).map(drop)
    }

    /// Send to many; how many they are. The draft's receiver is not looked at.
    pub fn broadcast(&self, audience: Audience<'_>, performative: &str, content: impl Content) -> Result<u32> {
        let filter = match audience {
            Audience::Agents(names) => object().with("agents", names),
            Audience::Groups(names) => object().with("groups", names),
            Audience::Capabilities(names) => object().with("capabilities", names),
            Audience::All => object(),
        }
        .to_json();
        let text = Draft::new(performative).field("content", content).finish();
        check(unsafe { abi::broadcast_message(filter.as_ptr(), filter.len(), text.as_ptr(), text.len()) })
    }

    /// Hear what is sent to these topics, such as `orders.*`.
    pub fn subscribe(&self, topics: &[&str]) -> Outcome {
        let filter = object().with("topics", topics).to_json();
        check(unsafe { abi::subscribe_messages(filter.as_ptr(), filter.len()) }).map(drop)
    }

    /// A line of the agent's log.
    pub fn log(&self, line: &str) {
        unsafe { abi::console_log(line.as_ptr(), line.len()) }
    }

    pub fn log_error(&self, line: &str) {
        unsafe { abi::console_error(line.as_ptr(), line.len()) }
    }

    /// Since 1970.
    pub fn now(&self) -> Duration {
        Duration::from_micros(unsafe { abi::current_timestamp() } as u64)
    }

    /// The agent sleeps; no thread waits with it.
    pub fn sleep(&self, time: Duration) {
        unsafe { abi::sleep_micros(micros(time)) }
    }

    pub fn random(&self) -> u32 {
        unsafe { abi::random_u32() }
    }

    /// `Agent::timer` is called with the number that this gives; durable, at most a year.
    pub fn set_timer(&self, after: Duration) -> Result<u32> {
        check(unsafe { abi::set_timer(micros(after)) })
    }

    pub fn cancel_timer(&self, timer: u32) -> Outcome {
        check(unsafe { abi::cancel_timer(timer as i32) }).map(drop)
    }

    /// A value of the state, as JSON text: `Json::new(&text)` reads it.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        match self.get_bytes(key)? {
            None => Ok(None),
            Some(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(Error::with(Code::Failed, "the value is no text; get_bytes reads it")),
            },
        }
    }

    /// Keep a value under a key of 1 to 256 bytes; it outlives the instance.
    pub fn set(&self, key: &str, value: impl Content) -> Outcome {
        self.set_bytes(key, value.to_json().as_bytes())
    }

    /// Whether there was a value.
    pub fn remove(&self, key: &str) -> Result<bool> {
        match unsafe { abi::delete_data(key.as_ptr(), key.len()) } {
            NOT_FOUND => Ok(false),
            result => check(result).map(|_| true),
        }
    }

    pub fn get_bytes(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut room = vec![0; 256];
        loop {
            let found = unsafe { abi::load_data(key.as_ptr(), key.len(), room.as_mut_ptr(), room.len()) };
            if found == NOT_FOUND {
                return Ok(None);
            }
            let length = check(found)? as usize;
            if length <= room.len() {
                room.truncate(length);
                return Ok(Some(room));
            }
            room = vec![0; length];
        }
    }

    pub fn set_bytes(&self, key: &str, value: &[u8]) -> Outcome {
        check(unsafe { abi::store_data(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }).map(drop)
    }

    /// Call a tool; the agent waits for its answer (JSON text) and holds no thread.
    pub fn tool(&self, name: &str, arguments: impl Content) -> Result<String> {
        slow(abi::mcp_call, &object().with("tool", name).with("arguments", arguments).to_json())
    }

    /// The same with a time limit.
    pub fn tool_within(&self, time: Duration, name: &str, arguments: impl Content) -> Result<String> {
        let request = object().with("tool", name).with("arguments", arguments);
        slow(abi::mcp_call, &request.with("timeout_ms", micros(time) / 1000).to_json())
    }

    /// Search the memory of the agent's workspace.
    pub fn search(&self, query: &str) -> Result<String> {
        slow(abi::memory_search, &object().with("query", query).to_json())
    }
}

type SlowCall = unsafe extern "C" fn(*const u8, usize, *mut u8, usize) -> i32;

fn slow(call: SlowCall, request: &str) -> Result<String> {
    let mut room: Vec<u8> = vec![0; FIRST_ROOM];
    loop {
        let found = unsafe { call(request.as_ptr(), request.len(), room.as_mut_ptr(), room.len()) };
        // a code, or the size that is needed: always more than the room there was
        let needed = found.unsigned_abs() as usize;
        if found < 0 && needed <= room.len() {
            return Err(Error::of(found));
        }
        if found >= 0 {
            room.truncate(needed);
            return String::from_utf8(room).map_err(|_| Error::with(Code::Failed, "the answer is no text"));
        }
        room = vec![0; needed];
    }
}
