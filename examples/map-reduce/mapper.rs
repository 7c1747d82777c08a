//! mapper: counts the words of a text.
use caxton::*;
use std::collections::BTreeMap;

struct Mapper;

impl Agent for Mapper {
    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        if !message.is("request") {
            return Ok(());
        }
        let text = message.content().text().ok_or("the content is no text")?;
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
        let answer = counts.iter().fold(object(), |so_far, (word, count)| so_far.with(word, *count));
        ctx.send(message.inform(answer))
    }
}

#[no_mangle]
pub fn caxton_agent() -> Box<dyn Agent> {
    Box::new(Mapper)
}
