"""The agent of acceptance.py with methods that are `async def`: what waits is awaited."""

from typing import Any

from acceptance import Acceptance
from caxton_agent import Agent, AsyncContext, CaxtonError, Message, serve


class AsyncAcceptance(Agent):
    capabilities = ("acceptance",)

    def __init__(self) -> None:
        self.plain: Any = Acceptance()

    async def start(self, ctx: AsyncContext) -> None:
        await ctx.sleep(0.001)
        self.plain.start(ctx)

    async def handle(self, message: Message, ctx: AsyncContext) -> Any:
        asked = message.content
        match asked.get("do") if isinstance(asked, dict) else None:
            case "tool":
                return await self.tool(ctx, asked)
            case "sleep":
                before = ctx.now()
                await ctx.sleep(asked["seconds"])
                return {"slept": ctx.now() - before >= asked["seconds"]}
        return self.plain.handle(message, ctx)

    async def tool(self, ctx: AsyncContext, asked: Any) -> Any:
        try:
            return {"answer": await ctx.tool(asked["name"], **asked["arguments"])}
        except CaxtonError as error:
            return {"error": error.code}

    async def timer(self, timer: int, ctx: AsyncContext) -> None:
        await ctx.sleep(0.001)
        self.plain.timer(timer, ctx)

    async def health(self, ctx: AsyncContext) -> None:
        await ctx.sleep(0.001)


Guest = serve(AsyncAcceptance)
