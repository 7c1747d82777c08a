//! Does what sdk/acceptance/scenarios.yaml asks of an agent in any language.
use caxton::*;
use std::collections::HashMap;
use std::time::Duration;

#[derive(Default)]
struct Acceptance {
    waiting: HashMap<u32, Address>,
}

fn seconds(asked: Json) -> Result<Duration> {
    let value = asked.get("seconds").and_then(Json::number).ok_or("no seconds")?;
    Ok(Duration::from_secs_f64(value))
}

fn named(asked: Json, name: &str) -> Result<String> {
    match asked.get(name).and_then(Json::text) {
        Some(found) => Ok(found.into_owned()),
        None => Err(Error::new(format!("no {} in {}", name, asked.raw()))),
    }
}

/// What the host says no to, as a value.
fn told(outcome: Outcome, done: &str) -> Object {
    match outcome {
        Ok(()) => object().with(done, true),
        Err(error) => object().with("error", error.code.name()),
    }
}

impl Agent for Acceptance {
    fn capabilities(&self) -> &[&str] {
        &["acceptance"]
    }

    fn start(&mut self, ctx: &Context) -> Outcome {
        ctx.log("started");
        Ok(())
    }

    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        let asked = message.content();
        let what = match asked.get("do").and_then(Json::text) {
            Some(what) => what,
            None => return Ok(()), // an inform of a partner
        };
        let value = asked.get("value").unwrap_or_else(|| Json::new("null"));
        let answer = match &*what {
            "echo" => return ctx.send(message.inform(value)),
            "reply" => {
                return ctx.send(match &*named(asked, "with")? {
                    "refuse" => message.refuse(value),
                    "failure" => message.failure(value),
                    "propose" => message.propose(value),
                    "not-understood" => message.not_understood(value),
                    _ => message.inform(value),
                })
            }
            "work" => {
                ctx.send(message.agree(object()))?;
                return ctx.send(message.inform(value));
            }
            "send" => told(ctx.send(Draft::to(&named(asked, "to")?, "inform", "hello")), "sent"),
            "broadcast" => {
                let names: Vec<String> =
                    asked.get("agents").into_iter().flat_map(Json::items).flat_map(Json::text).map(Into::into).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                object().with("receivers", ctx.broadcast(Audience::Agents(&names), "inform", "hello")?)
            }
            "subscribe" => told(ctx.subscribe(&[&named(asked, "topic")?]), "subscribed"),
            "set" => {
                ctx.set(&named(asked, "key")?, value)?;
                if asked.get("then").map_or(false, |then| then.is("fail")) {
                    return Err("broken on purpose".into());
                }
                object().with("set", true)
            }
            "get" => {
                let found = ctx.get(&named(asked, "key")?)?;
                object().with("value", found.as_deref().map(Json::new))
            }
            "remove" => object().with("removed", ctx.remove(&named(asked, "key")?)?),
            "timer" => {
                self.waiting.insert(ctx.set_timer(seconds(asked)?)?, message.address());
                return Ok(());
            }
            "cancel" => told(ctx.cancel_timer(ctx.set_timer(Duration::from_secs(60))?), "cancelled"),
            "tool" => match ctx.tool(&named(asked, "name")?, asked.get("arguments").ok_or("no arguments")?) {
                Ok(answer) => object().with("answer", Json::new(&answer)),
                Err(error) => object().with("error", error.code.name()),
            },
            "log" => {
                ctx.log(&named(asked, "line")?);
                object().with("logged", true)
            }
            "now" => object().with("now", ctx.now().as_secs() > 1_600_000_000),
            "random" => object().with("different", ctx.random() != ctx.random()),
            "sleep" => {
                let (before, time) = (ctx.now(), seconds(asked)?);
                ctx.sleep(time);
                object().with("slept", ctx.now() - before >= time)
            }
            "fail" => return Err("broken on purpose".into()),
            other => return Err(Error::new(format!("cannot {}", other))),
        };
        ctx.send(message.inform(answer))
    }

    fn timer(&mut self, timer: u32, ctx: &Context) -> Outcome {
        let address = self.waiting.remove(&timer).ok_or("a timer that nobody set")?;
        ctx.send(address.inform(object().with("timer", timer > 0)))
    }
}

#[no_mangle]
pub fn caxton_agent() -> Box<dyn Agent> {
    Box::<Acceptance>::default()
}
