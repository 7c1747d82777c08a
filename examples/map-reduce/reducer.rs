//! reducer: gives each text of `{"texts": [...], "mappers": ["mapper-0", ...]}` to a mapper, and adds up what they count.
//!
//! Jobs are told apart by their conversation. A mapper that fails is a job that fails: its sender says so by itself.
use caxton::*;
use std::collections::{BTreeMap, HashMap};

struct Job {
    customer: Address,
    left: usize,
    counts: BTreeMap<String, i64>,
}

#[derive(Default)]
struct Reducer {
    jobs: HashMap<String, Job>,
}

impl Reducer {
    fn begin(&mut self, message: &Message, ctx: &Context) -> Outcome {
        let asked = message.content();
        let texts: Vec<Json> = asked.get("texts").into_iter().flat_map(Json::items).collect();
        let mappers: Vec<String> =
            asked.get("mappers").into_iter().flat_map(Json::items).flat_map(Json::text).map(Into::into).collect();
        if texts.is_empty() || mappers.is_empty() {
            return ctx.send(message.refuse("texts and mappers are needed"));
        }
        for (index, text) in texts.iter().enumerate() {
            let mapper = &mappers[index % mappers.len()];
            let draft = Draft::to(mapper, "request", text).conversation(&message.conversation_id());
            ctx.send(draft.reply_with(&index.to_string()))?;
        }
        let job = Job { customer: message.address(), left: texts.len(), counts: BTreeMap::new() };
        self.jobs.insert(message.conversation_id().into_owned(), job);
        Ok(())
    }

    fn add(&mut self, message: &Message, ctx: &Context) -> Outcome {
        let id = message.conversation_id().into_owned();
        let job = match self.jobs.get_mut(&id) {
            Some(job) => job,
            None => return Ok(()), // it has failed already
        };
        if !message.is("inform") {
            let answer = job.customer.failure(message.content());
            self.jobs.remove(&id);
            return ctx.send(answer);
        }
        for (word, count) in message.content().members() {
            let word = word.text().unwrap_or_default().into_owned();
            *job.counts.entry(word).or_default() += count.integer().unwrap_or(0);
        }
        job.left -= 1;
        if job.left > 0 {
            return Ok(());
        }
        let total = job.counts.iter().fold(object(), |so_far, (word, count)| so_far.with(word, *count));
        let answer = job.customer.inform(total);
        self.jobs.remove(&id);
        ctx.send(answer)
    }
}

impl Agent for Reducer {
    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        if message.is("request") {
            self.begin(message, ctx)
        } else {
            self.add(message, ctx)
        }
    }
}

#[no_mangle]
pub fn caxton_agent() -> Box<dyn Agent> {
    Box::<Reducer>::default()
}
