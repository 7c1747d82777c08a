"""Contract nets and auctions as a service: the agent `cnp`, and what the API and the command line call.

The negotiation itself is `caxton.core.negotiation`; here is who sends for it, hears for it, wakes it and keeps it.

Rule 1: a step is written down before anything it says is sent, and what it heard counts as handled only then. So after
        a crash a task goes on where it was: what was not written comes again, what was written and not sent is sent,
        and what arrived already is a duplicate, for its id is the same.
Rule 2: many tasks share one transaction; while one is on its way the next one fills.
Rule 3: while the server is down, time passes. When it comes back, bids that were accepted in time count; then what is
        overdue is closed.
Rule 4: `cnp` answers `agree` when the task is written down, so an agreed task is never forgotten.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton.bus.bus import Bus
from caxton.bus.reserved import LATER, Answers
from caxton.core.answer import Answer, Unanswered
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import (
    CaxtonError,
    InvalidRequest,
    InvalidTransition,
    NotFound,
    RejectedError,
    ResourceLimitExceeded,
    StorageFull,
    StoreError,
)
from caxton.core.negotiation.messages import Heard, Said, Status
from caxton.core.negotiation.task import (
    CNP,
    MAX_PARTICIPANTS,
    ONTOLOGY,
    Asker,
    Order,
    Task,
    make_machine,
    outcome,
    read_order,
    view,
)
from caxton.core.performatives import Performative as P
from caxton.core.views import Receipt
from caxton.store import Store
from caxton.store.tasks import TaskRow

log = logging.getLogger(__name__)

MAX_OPEN = 10_000  # tasks at once
KEPT = 100_000  # tasks that are over; the oldest go first
LINGER = 600.0  # seconds that a task stays in memory when it is over, so that what comes late is answered
TRIM_SECONDS = 600.0
RETRY_SECONDS = 0.5
SLICE = 200  # messages sent between two looks at the other tasks
AFTER_RESTART = 1.0  # seconds in which what was sent to `cnp` before the restart is heard, before anything is closed
PREFIX = "task-"
UNDECIDED = frozenset({Status.CREATED, Status.CALLING})

Providers = Callable[[str], Sequence[str]]  # names of the agents behind capability:x or broadcast://group
Score = Callable[[str], float | None]  # which share of its messages an agent has handled well; None: not known

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Task).decode


class Tasks:
    def __init__(
        self,
        store: Store,
        bus: Bus,
        *,
        providers: Providers,
        score: Score,
        retention: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._bus = bus
        self._providers = providers
        self._score = score
        self.retention = retention
        self._clock = clock
        self._live: dict[str, Task] = {}
        self._due: dict[str, float] = {}  # when each live task has to be woken
        self._dirty: dict[str, None] = {}  # changed since it was last written, in the order of the changes
        self._writing: dict[str, None] = {}  # the same, of the transaction that is on its way
        self._writes = 0  # transactions
        self._over: set[str] = set()  # live tasks whose end has been told as an event
        self._heard: list[Envelope] = []  # in steps that are not written yet
        self._restored = trio.Event()
        self._not_before = 0.0  # nothing is closed before
        self._work = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()  # those who wait for any task
        self._trim_at = 0.0
        self.fault = ""
        self._agent = bus.reserved.host(CNP, self.handle)

    # -- what the API calls. Any: JSON --

    async def create(self, body: bytes) -> dict[str, Any]:
        """Take a task in; nothing is said yet. Raises InvalidRequest, ResourceLimitExceeded."""
        task = self._create(PREFIX + uuid.uuid4().hex, read_order(body), None)
        await self._wait_written(task)
        return {"task_id": task.id, "status": task.machine.status.value, "created_at": task.created_at}

    async def distribute(self, task_id: str, changes: Mapping[str, Any], *, wait: float) -> dict[str, Any]:
        """Call for proposals, and wait so long at most until it is awarded or over. Raises NotFound."""
        task = await self._find(task_id)
        status = task.machine.status
        if status is not Status.CREATED:
            raise InvalidTransition(
                f"the task {task_id} is {status.replace('_', ' ')}; only a created one is distributed",
                hint="create another task",
                details={"task_id": task_id, "status": status.value},
            )
        if changes:
            task.order = read_order(_encode({**msgspec.structs.asdict(task.order), **changes}))
        self._start(task)
        await self._wait_all_written()  # what is answered stays so, whatever dies
        self._check_fault()
        with trio.move_on_after(wait):
            while task.machine.status in UNDECIDED or self._is_unwritten(task):
                self._check_fault()
                await self.wait_changed()
        found = outcome(task)
        if found["status"] == Status.IN_PROGRESS:
            found["status"] = "distributed"
        return found

    async def get(self, task_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        return view(await self._find(task_id))

    async def cancel(self, task_id: str, reason: str) -> dict[str, Any]:
        """Stop it; participants are told. Raises NotFound, InvalidTransition."""
        task = await self._find(task_id)
        if task.is_over:
            raise InvalidTransition(
                f"the task {task_id} is over: {task.machine.status.value}", details={"task_id": task_id}
            )
        task.machine.cancel(reason, self._clock())
        self._touch(task)
        await self._wait_written(task)
        return view(task)

    async def list(self, status: str, limit: int, offset: int) -> tuple[Sequence[dict[str, Any]], int]:
        """One page, the newest first, and how many there are in all; *status* empty: of any."""
        if status and status not in set(Status):
            raise InvalidRequest(f"status {status!r} is none that tasks have", hint=f"one of {', '.join(Status)}")
        await self._wait_all_written()
        records, total = await self._store.tasks.list(status, limit, offset)
        tasks = [_decode(record) for record in records]
        return [view(self._live.get(task.id, task)) for task in tasks], total

    async def wait_changed(self) -> None:
        """Until steps of any task have been written and said."""
        await self._changed.park()

    @property
    def open(self) -> int:
        """How many are not over."""
        return sum(not task.is_over for task in self._live.values())

    # -- what `cnp` hears --

    async def handle(self, message: Envelope) -> Answers:
        """A message to `cnp`: of a participant, or of somebody who wants something done."""
        await self._restored.wait()  # else a bid of before the restart would belong to no task
        conversation = message.conversation_id or ""
        task = self._live.get(conversation.partition("/")[0])
        act = message.performative
        if task is not None:
            task.machine.receive(_heard(message), self._clock())
            self._touch(task, message)
            return LATER
        if act == P.REQUEST:
            return await self._requested(message)
        if act == P.CANCEL:
            return self._cancelled(message)
        if act == P.QUERY_REF:
            return Answer("inform", {"result": await self.get(_task_id(message))})
        if act == P.PROPOSE:  # to a task that is over for long, or never was
            return Answer("reject-proposal", {"action": {}, "condition": {}, "reason": "late"})
        if act in (P.INFORM, P.AGREE, P.REFUSE, P.REJECT_PROPOSAL, P.ACCEPT_PROPOSAL, P.FAILURE, P.NOT_UNDERSTOOD):
            return None
        raise Unanswered("unsupported-act", f"cnp does not understand {act}", act=act)

    async def _requested(self, message: Envelope) -> Answers:
        """A task by message: created and distributed at once."""
        task_id = PREFIX + str(message.message_id)  # the same one when the message comes again
        if task_id in self._live or await self._store.tasks.get(task_id) is not None:
            return None
        action = _action(message.content or b"null")
        try:
            order = read_order(action)
            asker = Asker(
                name=message.sender or "",
                to=_first(message.reply_to) or message.sender or "",
                conversation_id=message.conversation_id or "",
                protocol=(message.protocol or "") if message.conversation_id else "",
                reply_with=message.reply_with or "",
            )
            task = self._create(task_id, order, asker)
        except RejectedError as error:
            word = "unrecognised-parameter-value"
            raise Unanswered(word, f"{error}; {error.hint}" if error.hint else str(error), **error.details) from None
        task.tell_agreed()
        self._start(task, message)
        return LATER

    def _cancelled(self, message: Envelope) -> Answers:
        """Of the one who asked: in the conversation in which it asked, or by the task's id."""
        named = _task_id(message)
        for task in self._live.values():
            asker = task.asker
            if asker is None or asker.name != message.sender:
                continue
            if named == task.id or (message.conversation_id and asker.conversation_id == message.conversation_id):
                if task.is_over:
                    return Answer("failure", {"action": {"task_id": task.id}, "reason": "the task is over"})
                task.told = True  # the cancellation is the outcome
                task.machine.cancel("whoever asked for it cancelled it", self._clock())
                self._touch(task)
                return Answer("inform", {"done": {"cancel": {"task_id": task.id}}})
        return Answer("failure", {"action": {"task_id": named}, "reason": "no such task of yours is open"})

    # -- steps --

    def _create(self, task_id: str, order: Order, asker: Asker | None) -> Task:
        if self.open >= MAX_OPEN:
            raise ResourceLimitExceeded(f"{MAX_OPEN} tasks are open", hint="wait until some are over, or cancel them")
        now = self._clock()
        task = Task(id=task_id, order=order, created_at=now, machine=make_machine(task_id, order, []), asker=asker)
        self._live[task_id] = task
        self._touch(task)
        return task

    def _start(self, task: Task, message: Envelope | None = None) -> None:
        """Find the participants of now, and call them."""
        names, task.left_out = self._participants(task.order)
        said, outbox = task.machine.said, task.machine.outbox
        task.machine = make_machine(task.id, task.order, names)
        task.machine.said, task.machine.outbox = said, outbox
        task.machine.parent = task.asker.conversation_id if task.asker else ""
        task.machine.start(self._clock())
        self._bus.events.emit(
            "task.started", {"task_id": task.id, "protocol": task.order.protocol, "participants": len(names)}
        )
        self._touch(task, message)

    def _participants(self, order: Order) -> tuple[Sequence[str], dict[str, str]]:
        """Names, each once, and who was named and is left out."""
        wanted = order.requirements
        found: dict[str, None] = {}
        left_out: dict[str, str] = {}
        for address in order.participants:
            if address.startswith(("capability:", "broadcast://")):
                names = self._providers(address)
                if not names:
                    left_out[address] = "nobody is there"
                found |= dict.fromkeys(names)
            else:
                found[address] = None
        able = [set(self._providers(f"capability:{name}")) for name in wanted.capabilities]
        if not order.participants and able:
            found = dict.fromkeys(name for name in self._providers(f"capability:{wanted.capabilities[0]}"))
        for name in list(found):
            missing = [each for each, names in zip(wanted.capabilities, able, strict=True) if name not in names]
            score = self._score(name) if wanted.min_performance_score else None
            if missing:
                left_out[name] = f"does not have {', '.join(missing)}"
            elif score is not None and score < wanted.min_performance_score:
                left_out[name] = f"handled {score:.3f} of its messages well, below {wanted.min_performance_score:g}"
            elif name == CNP:
                left_out[name] = "is who calls"
            else:
                continue
            del found[name]
        names = list(found)
        left_out |= dict.fromkeys(names[MAX_PARTICIPANTS:], f"more than {MAX_PARTICIPANTS} participants")
        return names[:MAX_PARTICIPANTS], left_out

    def _touch(self, task: Task, message: Envelope | None = None) -> None:
        """It has changed."""
        if message is not None:
            self._heard.append(message)
        if task.is_over:
            task.tell_outcome()
        self._dirty[task.id] = None
        self._work.unpark_all()

    async def _find(self, task_id: str) -> Task:
        """Alive, or as it was written down when it was over."""
        if (task := self._live.get(task_id)) is not None:
            return task
        record = await self._store.tasks.get(task_id)
        if record is None:
            raise NotFound(
                f"there is no task {task_id!r}", hint="caxton tasks list shows those there are", details={"id": task_id}
            )
        return _decode(record)

    # -- keeping and sending --

    async def restore(self) -> None:
        """Go on with what is open; see rule 3."""
        for record in await self._store.tasks.load_open():
            task = _decode(record)
            self._live[task.id] = task
            self._touch(task)  # what was written and perhaps not sent, is
        self._not_before = self._clock() + AFTER_RESTART
        self._restored.set()

    async def run(self) -> None:
        """For as long as the node is open."""
        while True:
            now = self._clock()
            for task_id in [task_id for task_id, due in self._due.items() if due <= now]:
                self._wake(self._live[task_id], now)
            if self._dirty:
                await self._write()
                continue
            if now >= self._trim_at:
                await self._trim(now)
                continue  # something may have changed meanwhile
            pause = min(self._trim_at, *self._due.values(), inf) - self._clock()
            with trio.move_on_after(max(pause, 0.001)):
                await self._work.park()

    def _wake(self, task: Task, now: float) -> None:
        if task.is_over:
            if task.id not in self._dirty:
                del self._live[task.id], self._due[task.id]
                self._over.discard(task.id)
            else:
                self._due[task.id] = now + RETRY_SECONDS
            return
        task.machine.tick(now)
        self._touch(task)

    def _deadline(self, task: Task) -> float:
        """When to wake it, or to forget it. It looks at every participant, so not after each message."""
        if task.is_over:
            return self._clock() + LINGER
        return max(task.machine.next_deadline(), self._not_before)

    async def _write(self) -> None:
        """One transaction, then what its steps say."""
        tasks = [self._live[task_id] for task_id in self._dirty]
        heard, self._heard = self._heard, []
        self._writing, self._dirty = self._dirty, {}
        for task in tasks:
            self._due[task.id] = self._deadline(task)
        rows = [_row(task) for task in tasks]
        saying = [(task, said) for task in tasks for said in task.machine.take_outbox()]
        await self._keep(rows, sync=bool(saying or heard))
        await self._send(saying)
        for message in heard:
            await self._agent.settle(message)
        for task, _ in saying:
            # once more, without what is sent by now: else a restart would say it again
            self._dirty[task.id] = None
        self._writing = {}
        self._writes += 1
        for task in tasks:
            if task.is_over and task.id not in self._over:
                self._over.add(task.id)
                self._announce(task)
        self._changed.unpark_all()

    def _announce(self, task: Task) -> None:
        found = outcome(task)
        data = {"task_id": task.id, "agent_id": next(iter(found["assigned_to"]), ""), "status": found["status"]}
        self._bus.events.emit("task.completed", data | {"reason": found["reason"]})

    async def _keep(self, rows: Sequence[TaskRow], sync: bool) -> None:
        """Write, and try again for as long as it takes; who waits for it is told."""
        while True:
            try:
                await self._store.tasks.write(rows, sync)
            except StoreError as error:
                if not self.fault:
                    log.error("tasks cannot be written, trying again: %s", error)  # noqa: TRY400 (no traceback)
                self.fault = str(error)
                self._changed.unpark_all()
                await trio.sleep(RETRY_SECONDS)
            else:
                self.fault = ""
                return

    async def _send(self, saying: Sequence[tuple[Task, Said]]) -> None:
        receipts: list[Receipt | CaxtonError] = []
        for number, (task, said) in enumerate(saying, 1):
            while True:
                try:
                    receipts.append(self._agent.send(said.to_json(CNP, ONTOLOGY)))
                except StorageFull:
                    await trio.sleep(RETRY_SECONDS)
                    continue
                except CaxtonError as error:
                    # nobody else shall wait for one whose mailbox is full, who is stopped or does not exist
                    task.machine.unreachable(said.message_id, said.to, said.conversation_id, str(error), self._clock())
                    self._touch(task)
                break
            if number % SLICE == 0:
                await trio.lowlevel.checkpoint()
        await self._bus.settle(receipts)

    async def _trim(self, now: float) -> None:
        self._trim_at = now + TRIM_SECONDS
        try:
            await self._store.tasks.trim(now - self.retention, KEPT)
        except StoreError as error:
            log.warning("tasks that are over stay for now: %s", error)

    def _is_unwritten(self, task: Task) -> bool:
        return task.id in self._dirty or task.id in self._writing

    def _check_fault(self) -> None:
        if self.fault:
            raise StorageFull(f"the task is not on the disk yet: {self.fault}", hint="it is kept, and written later")

    async def _wait_all_written(self) -> None:
        """Until what has happened before is in the store; not what happens meanwhile."""
        wanted = self._writes + bool(self._writing) + bool(self._dirty)
        while self._writes < wanted and not self.fault:
            await self.wait_changed()

    async def _wait_written(self, task: Task) -> None:
        while self._is_unwritten(task):
            self._check_fault()
            await self.wait_changed()


def _row(task: Task) -> TaskRow:
    return TaskRow(
        id=task.id,
        created_at=task.created_at,
        status=task.machine.status.value,
        is_open=not task.is_over or bool(task.machine.outbox),
        record=_encode(task),
    )


def _heard(message: Envelope) -> Heard:
    return Heard(
        performative=message.performative or "",
        sender=message.sender or "",
        conversation_id=message.conversation_id or "",
        in_reply_to=message.in_reply_to or "",
        reply_with=message.reply_with or "",
        reply_by=message.reply_by_us / 1e6,
        content=message.content or b"null",
        at=message.accepted_us / 1e6,
        again=message.delivery_attempt > 1,
    )


def _action(content: bytes) -> bytes:
    """The order in `{"action": {...}}`, or as it stands."""
    try:
        value: Any = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return content
    return bytes(value["action"]) if set(value) == {"action"} else content


def _task_id(message: Envelope) -> str:
    """Which task a query or a cancel means."""
    try:
        value: Any = msgspec.json.decode(message.content or b"null")
    except UNREADABLE:
        return ""
    for name in ("query", "action"):
        if isinstance(value, dict) and isinstance(value.get(name), dict):
            value = value[name]
    found = value.get("task_id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _first(names: Iterable[str] | str | None) -> str:
    if isinstance(names, str) or names is None:
        return names or ""
    return next(iter(names), "")
