//! Answers every message with its content.
use caxton::*;

struct Echo;

impl Agent for Echo {
    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        if message.is_complaint() {
            return Ok(());
        }
        ctx.send(message.inform(message.content()))
    }
}

#[no_mangle]
pub fn caxton_agent() -> Box<dyn Agent> {
    Box::new(Echo)
}
