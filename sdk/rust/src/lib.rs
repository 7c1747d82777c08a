//! Agents for Caxton. Implement [`Agent`] and say which one it is:
//!
//! ```ignore
//! use caxton::*;
//!
//! struct Hello;
//!
//! impl Agent for Hello {
//!     fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
//!         ctx.send(message.inform("hello"))
//!     }
//! }
//!
//! #[no_mangle]
//! pub fn caxton_agent() -> Box<dyn Agent> {
//!     Box::new(Hello)
//! }
//! ```
//!
//! No macros, no dependencies, no `std` needed; docs/sdk-rust.md is the manual. What a turn does (messages, timers,
//! state) takes effect when `handle` gives `Ok`, or not at all.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod abi;
mod agent;
#[cfg(feature = "alone")]
mod alone;
mod context;
mod draft;
mod error;
mod json;
mod message;

pub use agent::Agent;
pub use context::{Audience, Context};
pub use draft::Draft;
pub use error::{Code, Error, Outcome, Result};
pub use json::{object, Array, Content, Json, Object};
pub use message::{Address, Answer, Message};
