//! The trait that agents implement, and the module's exports around it.

use crate::abi;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::json::{object, Content};
use crate::message::{Answer, Message};
use alloc::alloc::{alloc, dealloc, Layout};
use alloc::boxed::Box;
use core::cell::UnsafeCell;

/// Override what you need.
pub trait Agent {
    /// What others find the agent by: `capability:pricing`.
    fn capabilities(&self) -> &[&str] {
        &[]
    }

    /// At the start of every instance. An error is a failed start.
    fn start(&mut self, _ctx: &Context) -> Outcome {
        Ok(())
    }

    /// One message. An error is a failed message: what the turn did is undone, and the sender gets a FIPA `failure`.
    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        if message.is_complaint() {
            return Ok(());
        }
        ctx.send(message.not_understood("this agent handles no messages"))
    }

    /// A timer is due.
    fn timer(&mut self, _timer: u32, _ctx: &Context) -> Outcome {
        Ok(())
    }

    /// An error says that the agent does not feel well.
    fn health(&mut self, _ctx: &Context) -> Outcome {
        Ok(())
    }

    /// Before an orderly stop.
    fn stop(&mut self, _ctx: &Context) {}
}

extern "Rust" {
    // the agent's own: `#[no_mangle] pub fn caxton_agent() -> Box<dyn Agent>`
    fn caxton_agent() -> Box<dyn Agent>;
}

struct Instance {
    agent: Option<Box<dyn Agent>>,
    inbox: (*mut u8, usize),
}

struct Shared(UnsafeCell<Instance>);

// SAFETY: a module has one thread, and the host calls no export while another runs
unsafe impl Sync for Shared {}

static INSTANCE: Shared = Shared(UnsafeCell::new(Instance { agent: None, inbox: (core::ptr::null_mut(), 0) }));

fn instance() -> &'static mut Instance {
    // SAFETY: exports do not call each other, so there is one of these references at a time
    unsafe { &mut *INSTANCE.0.get() }
}

fn with_agent(act: impl FnOnce(&mut dyn Agent, &Context) -> Outcome) -> i32 {
    // SAFETY: the linker found it
    let agent = instance().agent.get_or_insert_with(|| unsafe { caxton_agent() });
    match act(&mut **agent, &Context(())) {
        Ok(()) => 0,
        Err(error) => {
            tell(&error);
            1
        }
    }
}

fn tell(error: &Error) {
    let context = Context(());
    context.log_error(&error.text);
    // SAFETY: one live string
    unsafe { abi::set_error(error.text.as_ptr(), error.text.len()) }
}

/// The host keeps the buffer and asks again only for a larger one, so the one before is given back.
#[no_mangle]
pub extern "C" fn caxton_alloc(length: usize) -> *mut u8 {
    let held = instance();
    // SAFETY: the layout is the one that it was taken with, and sizes are not zero
    unsafe {
        if held.inbox.1 > 0 {
            dealloc(held.inbox.0, Layout::from_size_align_unchecked(held.inbox.1, 8));
        }
        let size = length.max(8);
        held.inbox = match Layout::from_size_align(size, 8) {
            Ok(layout) => (alloc(layout), size),
            Err(_) => (core::ptr::null_mut(), 0),
        };
        if held.inbox.0.is_null() {
            held.inbox.1 = 0;
        }
    }
    held.inbox.0
}

#[no_mangle]
pub extern "C" fn agent_init() -> i32 {
    #[cfg(feature = "std")]
    std::panic::set_hook(Box::new(|panic| {
        use alloc::string::ToString;
        Context(()).log_error(&panic.to_string());
    }));
    with_agent(|agent, context| agent.start(context))
}

#[no_mangle]
pub extern "C" fn agent_shutdown() -> i32 {
    with_agent(|agent, context| {
        agent.stop(context);
        Ok(())
    })
}

#[no_mangle]
pub extern "C" fn handle_message(at: *const u8, length: usize) -> i32 {
    // SAFETY: the host wrote so many bytes there, and they are UTF-8
    let text = unsafe { core::str::from_utf8_unchecked(core::slice::from_raw_parts(at, length)) };
    with_agent(|agent, context| agent.handle(&Message::new(text), context))
}

#[no_mangle]
pub extern "C" fn handle_timer(timer: i32) -> i32 {
    with_agent(|agent, context| agent.timer(timer as u32, context))
}

#[no_mangle]
pub extern "C" fn health_check() -> i32 {
    with_agent(|agent, context| agent.health(context))
}

#[no_mangle]
pub extern "C" fn get_capabilities(at: *mut u8, room: usize) -> i32 {
    let mut length = 0;
    with_agent(|agent, _| {
        let names = agent.capabilities();
        if !names.is_empty() {
            let text = object().with("capabilities", names).to_json();
            if text.len() <= room {
                // SAFETY: the host gave so much room there
                unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), at, text.len()) };
                length = text.len() as i32;
            }
        }
        Ok(())
    });
    length
}
