"""analyst: statistics of each sensor's readings, and which of them stand out; the reporter puts it into words.

What it waits for is in its state under the conversation, so a restart in between loses nothing.
"""

from statistics import fmean, median, stdev
from typing import Any

from caxton_agent import Agent, Context, Message, serve

OUTLIER = 3.5  # modified z-score; Iglewicz and Hoaglin, 1993


def describe(sensor: str, values: list[float]) -> dict[str, Any]:
    middle = median(values)
    deviation = median(abs(value - middle) for value in values)
    return {
        "sensor": sensor,
        "count": len(values),
        "mean": round(fmean(values), 3),
        "median": middle,
        "stdev": round(stdev(values), 3) if len(values) > 1 else None,
        "outliers": [value for value in values if deviation and 0.6745 * abs(value - middle) / deviation > OUTLIER],
    }


class Analyst(Agent):
    capabilities = ("statistics",)

    def handle(self, message: Message, ctx: Context) -> Any:
        conversation = message.conversation_id
        if message.performative == "request":
            found = [describe(sensor, values) for sensor, values in message.content["readings"].items()]
            statistics = {"sensors": found, "dropped": message.content["dropped"]}
            ctx.state[conversation] = {"asked": {**message.fields, "content": None}, "statistics": statistics}
            ctx.send("reporter", "request", statistics, conversation_id=conversation, reply_with="report")
            return None
        waiting = ctx.state.get(conversation)
        if waiting is None:
            return None
        ctx.state.remove(conversation)
        asked = Message(waiting["asked"])
        if message.performative != "inform":
            return asked.failure(message.content)
        return asked.inform({**waiting["statistics"], "report": message.content})


Guest = serve(Analyst)
