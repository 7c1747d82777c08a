//! inventory: reserves goods, and keeps what is left in its state. There are ten of everything at first.
use caxton::*;

struct Inventory;

impl Agent for Inventory {
    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        if !message.is("request") {
            return Ok(());
        }
        let asked = message.content();
        let item = asked.get("item").and_then(Json::text).ok_or("no item")?;
        let quantity = asked.get("quantity").and_then(Json::integer).ok_or("no quantity")?;
        let left = match ctx.get(&item)? {
            Some(text) => Json::new(&text).integer().ok_or("a stock that is no number")?,
            None => 10,
        };
        if quantity > left {
            return ctx.send(message.refuse(object().with("reason", "out of stock").with("left", left)));
        }
        ctx.set(&item, left - quantity)?;
        ctx.send(message.inform(object().with("left", left - quantity)))
    }
}

#[no_mangle]
pub fn caxton_agent() -> Box<dyn Agent> {
    Box::new(Inventory)
}
