"""Dead letters as an operator handles them: look, send again, forget; and how many there are.

Rule 1: a letter that is sent again goes first, and is forgotten when the message is on the disk: a crash in between
        leaves both, and the message's id says that they are one.
Rule 2: of several receivers only the one that did not handle the message gets it again.
Rule 3: letters are told as events when they are in the store, and not before.
"""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton.bus.bus import Bus
from caxton.bus.delivery import DEAD_NUMBERS, dead_reason
from caxton.core.errors import CaxtonError, InvalidRequest, RejectedError
from caxton.core.views import DeadLetterFilter, DeadLetterInfo, Receipt, Retried
from caxton.store import DeadLetter, Store, Which
from caxton.store.dead_letters import LARGEST, Row

PAGE = 200  # letters in memory at once
TOLD_AT_ONCE = 200  # letters of one commit that watchers are shown; the rest is counted
ERRORS = 20  # of a retry of many, told one by one
SHARED = ("topic:", "broadcast://")  # addresses that stand for several receivers
TIMES = ("reply_by", "expires_at")

ANYTHING = DeadLetterFilter()


class DeadLetters:
    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._by_reason: Counter[int] = Counter()
        self.written: Counter[int] = Counter()  # since the start by reason, however many of them are still there

    # -- looking --

    async def list(
        self, which: DeadLetterFilter = ANYTHING, *, before: int = 0, limit: int = 100
    ) -> tuple[Sequence[DeadLetterInfo], int]:
        """One page, the newest first, and how many there are in all. *before*: the id where the last page ended."""
        wanted = _which(which)
        found = await self._store.dead_letters.list(wanted, before=before, limit=limit)
        return [_shown(letter) for letter in found], await self._store.dead_letters.count(wanted)

    async def get(self, letter_id: int) -> DeadLetterInfo:
        """One, with its message. Raises NotFound."""
        return _shown(await self._store.dead_letters.get(letter_id))

    async def export(self, which: DeadLetterFilter = ANYTHING) -> AsyncGenerator[Sequence[DeadLetterInfo], None]:
        """All of them that are there now, the oldest first, page by page."""
        async with aclosing(self._pages(_which(which))) as pages:
            async for letters in pages:
                yield [_shown(letter) for letter in letters]

    # -- changing --

    async def retry(self, letter_id: int) -> Receipt:
        """Send it again. Raises NotFound, and what posting a message raises: then the letter stays."""
        letter = await self._store.dead_letters.get(letter_id)
        (outcome,) = await self._send_again([letter])
        if isinstance(outcome, CaxtonError):
            raise outcome
        return outcome

    async def retry_all(self, which: DeadLetterFilter = ANYTHING) -> Retried:
        """Send those again that are there now; what fails once more is a new letter, and not tried again here."""
        retried = failed = 0
        errors: dict[str, str] = {}
        async with aclosing(self._pages(_which(which))) as pages:
            async for letters in pages:
                for letter, outcome in zip(letters, await self._send_again(letters), strict=True):
                    if isinstance(outcome, Receipt):
                        retried += 1
                        continue
                    failed += 1
                    if len(errors) < ERRORS:
                        errors[str(letter.id)] = f"{outcome.code}: {outcome}"
        return Retried(retried=retried, failed=failed, errors=errors)

    async def remove(self, letter_id: int) -> None:
        """Forget one. Raises NotFound."""
        await self._store.dead_letters.get(letter_id)
        await self._store.dead_letters.remove([letter_id])
        await self.recount()

    async def purge(self, which: DeadLetterFilter = ANYTHING) -> int:
        """Forget these; how many there were."""
        number = await self._store.dead_letters.purge(_which(which))
        await self.recount()
        return number

    async def _pages(self, which: Which) -> AsyncGenerator[Sequence[DeadLetter], None]:
        newest = await self._store.dead_letters.list(which, limit=1)
        after = 0
        while newest and after < newest[0].id:
            letters = await self._store.dead_letters.export(which, after=after, limit=PAGE)
            letters = [letter for letter in letters if letter.id <= newest[0].id]
            if not letters:
                return
            after = letters[-1].id
            yield letters

    async def _send_again(self, letters: Sequence[DeadLetter]) -> Sequence[Receipt | CaxtonError]:
        posted: list[Receipt | CaxtonError] = []
        for letter in letters:
            try:
                posted.append(self._bus.post_again(_message_again(letter), sender=letter.sender))
            except CaxtonError as error:
                posted.append(error)
        outcomes = await self._bus.settle(posted)
        gone = [letter.id for letter, each in zip(letters, outcomes, strict=True) if isinstance(each, Receipt)]
        if gone:
            with trio.CancelScope(shield=True):  # they are sent: who asked may leave, the letters go all the same
                await self._store.dead_letters.remove(gone)
                await self.recount()
        return outcomes

    # -- counting and telling --

    async def recount(self) -> None:
        """What the store holds now."""
        self._by_reason = Counter(await self._store.dead_letters.count_by_reason())

    def committed(self, rows: Sequence[Row]) -> None:
        """These are in the store."""
        self.written.update(reason for _, _, reason, _, _ in rows)
        for frame, agent, reason, attempts, detail in rows[:TOLD_AT_ONCE]:
            message = _read(frame)
            data = {
                "message_id": message.message_id if message else None,
                "from": message.sender if message else None,
                "to": agent or (message.receiver if message else None),
                "performative": message.performative if message else None,
                "reason": dead_reason(reason),
                "attempts": attempts,
                "detail": detail,
            }
            self._bus.events.emit("message.dead", data)
        self._by_reason.update(reason for _, _, reason, _, _ in rows)
        left = len(rows) - TOLD_AT_ONCE
        if left > 0:
            text = f"{left} dead letters were not shown: more than {TOLD_AT_ONCE} at once"
            alert = {"severity": "warning", "message": text, "details": {"missed": left}}
            self._bus.events.emit("system.alert", alert)

    @property
    def since_start(self) -> int:
        return self.written.total()

    # Any: numbers, and numbers by name
    @property
    def figures(self) -> dict[str, Any]:
        """How many are kept, by reason too, and how many there were since the start."""
        named = {dead_reason(number): count for number, count in sorted(self._by_reason.items()) if count > 0}
        return {"kept": sum(named.values()), "since_start": self.since_start, "by_reason": named}


def _which(chosen: DeadLetterFilter) -> Which:
    number: int | None = None
    if chosen.reason:
        number = DEAD_NUMBERS.get(chosen.reason)
        if number is None:
            raise InvalidRequest(
                f"no dead letter has the reason {chosen.reason!r}",
                hint=f"one of {', '.join(sorted(DEAD_NUMBERS))}",
                details={"reason": chosen.reason},
            )
    return Which(
        agent=chosen.agent or None, reason=number, since_us=round(chosen.since * 1e6) if chosen.since else None
    )


def _shown(letter: DeadLetter) -> DeadLetterInfo:
    message = _read(letter.frame) if letter.frame else None
    return DeadLetterInfo(
        id=letter.id,
        message_id=letter.message_id,
        agent=letter.agent,
        sender=letter.sender,
        reason=dead_reason(letter.reason),
        attempts=letter.attempts,
        detail=letter.detail,
        at=letter.at_us / 1e6,
        message=msgspec.Raw(message.to_json()) if message else None,
    )


def _read(frame: bytes) -> Envelope | None:
    """None: these bytes are no message. The letter is shown all the same."""
    try:
        return Envelope.from_frame(frame, max_size=LARGEST)
    except RejectedError:
        return None


def _message_again(letter: DeadLetter) -> bytes:
    """The message as it is sent again; a time that has passed would end it at once, so it goes without."""
    message = _read(letter.frame)
    if message is None:
        raise InvalidRequest(
            f"the dead letter {letter.id} holds no message that can be read", hint="remove it: it cannot be retried"
        )
    text = message.to_json()
    now = time.time() * 1e6
    has_passed = [due and due <= now for due in (message.reply_by_us, message.expires_at_us)]
    receivers = message.receivers
    is_shared = len(receivers) > 1 or receivers[0].startswith(SHARED)
    if not any(has_passed) and not (letter.agent and is_shared):
        return text
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    for name, passed in zip(TIMES, has_passed, strict=True):
        if passed:
            del fields[name]
    if letter.agent and is_shared:
        fields["receiver"] = msgspec.Raw(msgspec.json.encode(_who_missed_it(letter.agent, receivers)))
    return msgspec.json.encode(fields)


def _who_missed_it(agent: str, receivers: Sequence[str]) -> str | list[str]:
    """The receivers behind the dead letter's mailbox: a platform's is that of all its agents."""
    if agent.startswith("@"):
        return [name for name in receivers if name.endswith(agent)] or agent
    return agent.partition("#")[0]
