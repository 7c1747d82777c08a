"""The keys of `messaging.conversations` and `messaging.loops`: what is followed, and when that is given up."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from caxton.core.settings import YES, Count, Key, Positive, Seconds

COMING = "for messages that come then"


class ConversationsConfig(msgspec.Struct, frozen=True, kw_only=True):
    max_open: Annotated[
        Count,
        Key(
            "[conversations](conversations.md) that are followed at once; messages of more are not checked. 0 is none",
            dynamic=YES,
        ),
    ] = 100_000
    max_participants: Annotated[Positive, Key("sessions of one conversation that are followed", dynamic=YES)] = 4096
    kept_ended: Annotated[Count, Key("conversations that ended and are still shown", dynamic=YES)] = 10_000
    kept_time: Annotated[Seconds, Key("how long they are shown", dynamic=YES)] = 600.0
    first_answer_timeout: Annotated[
        Seconds,
        Key(
            "deadline of the first answer where the message has no `reply_by`; it begins when its receiver, if that "
            "was away, has it. 0 is none",
            dynamic=COMING,
        ),
    ] = 60.0
    clock_skew: Annotated[
        Seconds,
        Key("a client's `reply_by` counts so much later, for its clock may not be the server's", dynamic=COMING),
    ] = 2.0
    idle_timeout: Annotated[
        Seconds,
        Key(
            "without a message for so long, a conversation is abandoned; not a promise, a subscription, or one that "
            "waits for who is away. 0 is never",
            dynamic=YES,
        ),
    ] = 1800.0
    max_age: Annotated[
        Seconds,
        Key(
            "conversations older than this are abandoned; promises and subscriptions when silent for so long. 0: never",
            dynamic=YES,
        ),
    ] = 86_400.0
    max_rounds: Annotated[Positive, Key("rounds of an iterated contract net", dynamic=YES)] = 10


class LoopsConfig(msgspec.Struct, frozen=True, kw_only=True):
    policy: Annotated[
        Literal["report", "stop"],
        Key(
            "[loops](conversations.md#loops) are told, or also stopped: the message is refused, and its sender told",
            dynamic=YES,
        ),
    ] = "report"
    max_hops: Annotated[
        Annotated[int, Meta(ge=0, le=253)],
        Key("answers to answers from where on a chain is a loop; 0 is never", dynamic=YES),
    ] = 200
    max_repeats: Annotated[
        Count,
        Key(
            "how often the same messages go to and fro in a conversation before that is a loop; 0 is never", dynamic=YES
        ),
    ] = 100
