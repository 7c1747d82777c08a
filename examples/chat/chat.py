"""chat: answers questions about a shop by calling the shop's own tools (shop.py).

What was spoken of last is in its state under the conversation's id: "and what does it cost?" is understood, also after
a restart.
"""

from typing import Any

from caxton_agent import Agent, AsyncContext, CallFailed, Message, Unavailable, serve

PRICE = ("cost", "price", "expensive", "cheap")


class Chat(Agent):
    capabilities = ("shop-questions",)

    async def handle(self, message: Message, ctx: AsyncContext) -> Any:
        if message.performative in ("failure", "not-understood"):
            return None
        if message.performative != "query-ref" or not isinstance(message.content, str):
            return message.not_understood("ask me with a query-ref and a text")
        whose = message.conversation_id or message.sender
        memory = ctx.state.get(whose, {"questions": 0, "goods": None})
        memory["questions"] += 1
        try:
            answer = await self.think(message.content, memory, ctx)
        except Unavailable as error:  # the shop is closed, or I may not ask
            return message.failure(f"I cannot look that up now: {error}")
        except CallFailed as error:
            answer = f"The shop says: {error}"
        ctx.state[whose] = memory
        return message.inform(answer)

    async def think(self, text: str, memory: dict[str, Any], ctx: AsyncContext) -> str:
        words = text.lower()
        if "bye" in words:
            return f"Goodbye! That was question {memory['questions']}."
        found = (await ctx.tool("shop.find", text=words))["result"]
        if found:
            memory["goods"] = found[0]
        if memory["goods"] is None:
            return "What are you looking for?"
        goods = await ctx.tool("shop.look_up", name=memory["goods"])
        if any(word in words for word in PRICE):
            return f"One {goods['name']} costs {goods['price']:.2f}."
        return f"We have {goods['count']} of them: {goods['name']}."


Guest = serve(Chat)
