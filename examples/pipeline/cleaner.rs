//! cleaner: the pipeline's head. It takes lines `sensor,value`, drops what is no reading, and has the rest analysed.
//!
//! Who asked is kept in the state under the conversation until the answer comes back.
use caxton::*;
use std::collections::BTreeMap;

struct Cleaner;

fn reading(line: &str) -> Option<(&str, f64)> {
    let (sensor, value) = line.split_once(',')?;
    let value: f64 = value.trim().parse().ok()?;
    let sensor = sensor.trim();
    if sensor.is_empty() || !value.is_finite() { None } else { Some((sensor, value)) }
}

impl Cleaner {
    fn begin(&self, message: &Message, ctx: &Context) -> Outcome {
        let text = message.content().text().unwrap_or_default();
        let mut sensors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut dropped = 0;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match reading(line) {
                Some((sensor, value)) => sensors.entry(sensor).or_default().push(value),
                None => dropped += 1,
            }
        }
        if sensors.is_empty() {
            return ctx.send(message.refuse("no line is `sensor,value`"));
        }
        ctx.set(&message.conversation_id(), message.address().to_text())?;
        let readings = sensors.iter().fold(object(), |so_far, (sensor, values)| so_far.with(sensor, values));
        let content = object().with("readings", readings).with("dropped", dropped);
        let draft = Draft::to("analyst", "request", content).conversation(&message.conversation_id());
        ctx.send(draft.reply_with("statistics"))
    }

    fn finish(&self, message: &Message, ctx: &Context) -> Outcome {
        let id = message.conversation_id();
        let kept = match ctx.get(&id)? {
            Some(kept) => kept,
            None => return Ok(()), // nobody waits
        };
        ctx.remove(&id)?;
        let customer = Address::from_text(&Json::new(&kept).text().unwrap_or_default());
        if message.is("inform") {
            ctx.send(customer.inform(message.content()))
        } else {
            ctx.send(customer.failure(message.content()))
        }
    }
}

impl Agent for Cleaner {
    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        if message.is("request") {
            self.begin(message, ctx)
        } else {
            self.finish(message, ctx)
        }
    }
}

#[no_mangle]
pub fn caxton_agent() -> Box<dyn Agent> {
    Box::new(Cleaner)
}
