"""Does what sdk/acceptance/scenarios.yaml asks of an agent in any language."""

from typing import Any

from caxton_agent import Agent, CaxtonError, Context, Message, serve


class Acceptance(Agent):
    capabilities = ("acceptance",)

    def start(self, ctx: Context) -> None:
        self.waiting: dict[int, Message] = {}
        ctx.log.info("started")

    def handle(self, message: Message, ctx: Context) -> Any:
        asked = message.content
        if not isinstance(asked, dict) or "do" not in asked:
            return None  # an inform of a partner
        return getattr(self, "do_" + asked["do"].replace("-", "_"))(asked, message, ctx)

    def timer(self, timer: int, ctx: Context) -> None:
        ctx.send(self.waiting.pop(timer).inform({"timer": timer > 0}))

    def do_echo(self, asked: Any, message: Message, ctx: Context) -> Any:
        return message.inform(asked["value"])

    def do_reply(self, asked: Any, message: Message, ctx: Context) -> Any:
        return getattr(message, asked["with"].replace("-", "_"))(asked["value"])

    def do_work(self, asked: Any, message: Message, ctx: Context) -> Any:
        ctx.send(message.agree())
        return message.inform(asked["value"])

    def do_send(self, asked: Any, message: Message, ctx: Context) -> Any:
        try:
            ctx.send(asked["to"], "inform", {"hello": "you"})
        except CaxtonError as error:
            return {"error": error.code}
        return {"sent": True}

    def do_broadcast(self, asked: Any, message: Message, ctx: Context) -> Any:
        return {"receivers": ctx.broadcast("inform", {"hello": "all"}, agents=asked["agents"])}

    def do_subscribe(self, asked: Any, message: Message, ctx: Context) -> Any:
        ctx.subscribe(asked["topic"])
        return {"subscribed": True}

    def do_set(self, asked: Any, message: Message, ctx: Context) -> Any:
        ctx.state[asked["key"]] = asked["value"]
        if asked.get("then") == "fail":
            raise RuntimeError("broken on purpose")
        return {"set": True}

    def do_get(self, asked: Any, message: Message, ctx: Context) -> Any:
        return {"value": ctx.state.get(asked["key"])}

    def do_remove(self, asked: Any, message: Message, ctx: Context) -> Any:
        return {"removed": ctx.state.remove(asked["key"])}

    def do_timer(self, asked: Any, message: Message, ctx: Context) -> Any:
        self.waiting[ctx.set_timer(asked["seconds"])] = message

    def do_cancel(self, asked: Any, message: Message, ctx: Context) -> Any:
        ctx.cancel_timer(ctx.set_timer(60))
        return {"cancelled": True}

    def do_tool(self, asked: Any, message: Message, ctx: Context) -> Any:
        try:
            return {"answer": ctx.tool(asked["name"], **asked["arguments"])}
        except CaxtonError as error:
            return {"error": error.code}

    def do_log(self, asked: Any, message: Message, ctx: Context) -> Any:
        ctx.log.info(asked["line"])
        return {"logged": True}

    def do_now(self, asked: Any, message: Message, ctx: Context) -> Any:
        return {"now": ctx.now() > 1_600_000_000}

    def do_random(self, asked: Any, message: Message, ctx: Context) -> Any:
        return {"different": ctx.random() != ctx.random()}

    def do_sleep(self, asked: Any, message: Message, ctx: Context) -> Any:
        before = ctx.now()
        ctx.sleep(asked["seconds"])
        return {"slept": ctx.now() - before >= asked["seconds"]}

    def do_fail(self, asked: Any, message: Message, ctx: Context) -> Any:
        raise ValueError("broken on purpose")


Guest = serve(Acceptance)
