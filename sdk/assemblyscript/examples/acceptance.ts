// Does what sdk/acceptance/scenarios.yaml asks of an agent in any language.
import { Address, Agent, Audience, Code, Context, Draft, Json, JsonObject, Message, nameOf, serve } from "../caxton";
export * from "../caxton/exports";

// what the host says no to, as a value
function told(code: i32, done: string): JsonObject {
  const answer = new JsonObject();
  return code < 0 ? answer.with("error", nameOf(code)) : answer.with(done, true);
}

class Acceptance extends Agent {
  private waiting: Map<i32, Address> = new Map();

  capabilities(): string[] { return ["acceptance"]; }

  start(ctx: Context): void { ctx.log("started"); }

  handle(message: Message, ctx: Context): void {
    const asked = message.content, what = asked.get("do").text(), value = asked.get("value");
    if (what == "") return; // an inform of a partner
    if (what == "echo") {
      ctx.send(message.inform(value));
    } else if (what == "reply") {
      const act = asked.get("with");
      if (act.is("refuse")) ctx.send(message.refuse(value));
      else if (act.is("failure")) ctx.send(message.failure(value));
      else if (act.is("propose")) ctx.send(message.propose(value));
      else if (act.is("not-understood")) ctx.send(message.notUnderstood(value));
      else ctx.send(message.inform(value));
    } else if (what == "work") {
      ctx.send(message.agree(true));
      ctx.send(message.inform(value));
    } else if (what == "timer") {
      this.waiting.set(ctx.setTimer(asked.get("seconds").number()), message.address());
    } else {
      const answer = this.act(what, asked, ctx);
      if (answer) ctx.send(message.inform<JsonObject>(answer));
      else ctx.fail("broken on purpose");
    }
  }

  private act(what: string, asked: Json, ctx: Context): JsonObject | null {
    const answer = new JsonObject(), key = asked.get("key").text();
    if (what == "send") return told(ctx.send(Draft.to(asked.get("to").text(), "inform", "hello")), "sent");
    if (what == "broadcast") {
      const audience = new Audience();
      const names = asked.get("agents").items();
      for (let i = 0; i < names.length; i++) audience.agents.push(names[i].text());
      return answer.with("receivers", ctx.broadcast(audience, "inform", "hello"));
    }
    if (what == "subscribe") return told(ctx.subscribe([asked.get("topic").text()]), "subscribed");
    if (what == "set") {
      const code = ctx.set(key, asked.get("value"));
      return asked.get("then").is("fail") ? null : told(code, "set");
    }
    if (what == "get") return answer.with("value", ctx.get(key));
    if (what == "remove") return answer.with("removed", ctx.remove(key) == Code.ok);
    if (what == "cancel") return told(ctx.cancelTimer(ctx.setTimer(60)), "cancelled");
    if (what == "tool") {
      const found = ctx.tool(asked.get("name").text(), asked.get("arguments"));
      return found.code == Code.ok ? answer.with("answer", found.value) : told(found.code, "");
    }
    if (what == "log") {
      ctx.log(asked.get("line").text());
      return answer.with("logged", true);
    }
    if (what == "now") return answer.with("now", ctx.now() > 1.6e9);
    if (what == "random") return answer.with("different", ctx.random() != ctx.random());
    if (what == "sleep") {
      const before = ctx.now(), seconds = asked.get("seconds").number();
      ctx.sleep(seconds);
      return answer.with("slept", ctx.now() - before >= seconds);
    }
    return null;
  }

  timer(timer: i32, ctx: Context): void {
    ctx.send(this.waiting.get(timer).inform(new JsonObject().with("timer", timer > 0)));
    this.waiting.delete(timer);
  }
}

serve(new Acceptance());
