//! Greets whoever writes to it.
use caxton::*;

struct Hello;

impl Agent for Hello {
    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        let name = message.content().text().unwrap_or_default();
        ctx.send(message.inform(format!("hello, {}", name)))
    }
}

#[no_mangle]
pub fn caxton_agent() -> Box<dyn Agent> { Box::new(Hello) }
