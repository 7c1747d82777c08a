"""The configuration while the server runs: it is changed, read again, and gone back to.

Rule 1: a change is checked as a file is, all of it at once; then written to the store as a version; then applied, in
        one step without an await. What fails changes nothing.
Rule 2: only keys marked `dynamic` change. Another one is refused by `set`; `reload` notes that it waits for a restart.
Rule 3: what was changed holds after a restart as well, above files and below variables and flags; a change made since
        the start is above everything. So the last one who spoke is heard, and whoever starts a server with a flag too.
Rule 4: which part a key belongs to is in `node/live.py`.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Protocol

import apsw
import msgspec
import trio

from caxton.core.config import Layer, Loaded, build, fetch_again, nested, value_in
from caxton.core.config_keys import Config, Keys
from caxton.core.config_tree import (
    leaves,
    masked,
    secret_members,
    secret_texts,
    seen,
    shown,
    shown_values,
    unknown_key,
    unmasked,
    values,
    with_values,
)
from caxton.core.errors import CaxtonError, InternalError, InvalidConfig, InvalidRequest, StoreError
from caxton.core.secrets import MASK
from caxton.core.settings import FILES, raise_problems
from caxton.store.settings import Change, Held, SettingsRoom, Version, write_version
from caxton.telemetry import logs

log = logging.getLogger(__name__)

LAID_OUT = ("runtime.max_agents", "runtime.max_memory_per_agent")

State = dict[str, Held]
# makes of an agent's changes what is written in the same transaction
Also = Callable[[Sequence[Change]], Callable[[apsw.Connection], None]]
Ceilings = Mapping[str, tuple[Any, str]]  # Any: the most that a key may be without a restart; and why


class AgentSettings(Protocol):
    """Changes of one agent; node/agents.py."""

    def created_at(self, name: str) -> float:
        """When the agent of this name was deployed; infinity: there is none."""

    def values(self, name: str) -> Mapping[str, Any]:
        """What may be changed, as it is now. Raises AgentNotFound."""

    async def configure(self, name: str, changes: Mapping[str, Any], also: Also) -> Sequence[Change]:
        """All of them or none, and what *also* makes of them with them. Raises AgentNotFound, InvalidConfig."""


class Settings:
    """What holds now (`config`), what was started with, and what was changed since."""

    def __init__(self, loaded: Loaded, room: SettingsRoom, reload: Callable[[], Loaded] | None = None) -> None:
        self.config = loaded.config
        self.apply: Callable[[Config, Config], None] = lambda before, after: None
        self.announce: Callable[[Version], None] = lambda version: None
        self.ceilings: Callable[[], Ceilings] = dict
        # what is wrong with a configuration for this node, and what it does when its files were read again
        self.refuse: Callable[[Config, bool], Sequence[str]] = lambda config, is_reload: ()
        self.reloaded: Callable[[], None] = lambda: None
        self.agents: AgentSettings | None = None
        self._loaded = loaded
        self._room = room
        self._reload = reload
        self._state: State = {}
        self._version = 0
        self._started_with = 0  # the version that was the newest when the server started
        self._lock = trio.Lock()
        self._interval_changed = trio.Event()
        _hide(loaded)

    async def recall(self) -> None:
        """What was changed before the last end; `config` is what holds with it."""
        newest = await self._room.newest()
        if newest is None:
            return
        self._version = self._started_with = newest.version
        try:
            self.config = self._build(self._loaded, newest.state)
            self._state = dict(newest.state)
        except InvalidConfig as error:
            # a server that does not start is worse than one that starts as its files say
            log.error("what was changed while the server ran is left out, it does not fit any more: %s", error)  # noqa: TRY400
            return
        logs.hide(secret_texts(self.config))
        for key, held in newest.state.items():
            value = masked(key, held.value)
            if seen(key, values(self.config)[key], self.config) != value:
                origin = self._loaded.origin(key)
                log.warning("%s: %s is left out, %s says something else", key, value, origin)
            else:
                log.info("%s is %s, as version %d has set it", key, value, held.version)

    @property
    def room(self) -> Config:
        """What instances are laid out for: as much as the files say, though a change made it less for a while."""
        said, now = values(self._loaded.config), values(self.config)
        return with_values(self.config, {key: max(said[key], now[key]) for key in LAID_OUT})

    # -- questions --

    def describe(self) -> dict[str, Any]:
        """Everything, for people and programs. Any: JSON."""
        origins = {key: self._loaded.origin(key) for key in leaves()}
        now = values(self.config)
        for key, held in self._state.items():
            if seen(key, now[key], self.config) == masked(key, held.value):
                origins[key] = f"version {held.version}"
        wanted = self._build(self._loaded, self._state)
        return {
            "version": self._version,
            "values": shown_values(self.config),
            "origins": {key: origin for key, origin in origins.items() if origin},
            "dynamic": [key for key, leaf in leaves().items() if leaf.key.dynamic],
            "after_restart": self._after_restart(wanted),
        }

    def of_agent(self, name: str) -> Mapping[str, Any]:
        """What may be changed of an agent while it runs, as it holds. Raises AgentNotFound."""
        assert self.agents is not None
        return self.agents.values(name)

    async def versions(self, limit: int) -> list[Version]:
        """The newest first."""
        return await self._room.list(limit)

    # -- changes --

    async def set(self, changes: Mapping[str, Any], *, who: str, agent: str = "") -> Version:
        """Change keys of the server, or of one agent. Raises InvalidConfig, AgentNotFound, StoreError."""
        if not changes:
            raise InvalidRequest("no key is named", hint='send {"set": {"observability.logging.level": "debug"}}')
        async with self._lock:
            if agent:
                return await self._set_agent(agent, changes, who)
            problems = [problem for key in changes if (problem := _refused(key))]
            raise_problems(problems, "change")
            number = self._version + 1
            given = {key: self._given(key, value) for key, value in changes.items()}
            state = {**self._state, **{key: Held(value=value, version=number) for key, value in given.items()}}
            return await self._change(self._loaded, state, "set", who)

    async def rollback(self, to: int | None, *, who: str) -> Version:
        """As it was after version *to* (0: as the server was started); without one, before the last change."""
        async with self._lock:
            rows = await self._room.list(1 << 30)  # the newest first
            changes = [row for row in rows if row.action != "reload"]
            if to is None:
                if not changes:
                    raise InvalidRequest("nothing was changed while the server ran")
                undone, to = changes[:1], changes[0].version - 1
            else:
                if to and to not in {row.version for row in rows}:
                    raise InvalidRequest(f"there is no version {to}", hint="`caxton config history` lists them")
                undone = [row for row in changes if row.version > to]
            state = next((row.state for row in rows if row.version <= to), {}) if to else {}
            self._build(self._loaded, state)  # before an agent is told
            made: list[Change] = []
            for name, wanted in self._of_agents(undone).items():
                try:
                    made += await self._configure(name, wanted, _nothing)
                except CaxtonError as error:
                    log.warning("agent %s stays as it is: %s", name, error)
            return await self._change(self._loaded, state, "rollback", who, made)

    async def reload(self, *, who: str) -> Version:
        """Read files, and what they name, again. Raises InvalidConfig; then nothing has changed."""
        if self._reload is None:
            raise InvalidRequest("this server was started without files that could be read again")
        async with self._lock:
            loaded = await trio.to_thread.run_sync(self._reload)
            _hide(loaded)
            made = await self._change(loaded, self._state, "reload", who)
            self.reloaded()
            return made

    async def refresh(self) -> Version | None:
        """Fetch the secrets again; None: all are as they were. Raises InvalidConfig; then nothing has changed."""
        async with self._lock:
            if not self._loaded.fetched:
                return None
            loaded = await trio.to_thread.run_sync(fetch_again, self._loaded)
            _hide(loaded)
            if loaded.fetched == self._loaded.fetched:
                return None
            return await self._change(loaded, self._state, "reload", "refresh of secrets")

    async def watch_secrets(self) -> None:
        """Refresh them every `security.secrets.refresh_interval`."""
        while True:
            interval = self.config.security.secrets.refresh_interval
            with trio.move_on_after(interval or inf):
                await self._interval_changed.wait()
                self._interval_changed = trio.Event()
                continue
            try:
                await self.refresh()
            except CaxtonError as error:
                # the secrets that were had still hold; the next round tries again
                log.error("the secrets could not be fetched again: %s", error)  # noqa: TRY400

    def change_interval(self) -> None:
        self._interval_changed.set()

    # -- inside --

    async def _change(
        self, loaded: Loaded, state: State, action: str, who: str, made: Sequence[Change] = ()
    ) -> Version:
        wanted = self._build(loaded, state)
        before, after = values(self.config), values(wanted)
        new = {key: after[key] for key, leaf in leaves().items() if leaf.key.dynamic and after[key] != before[key]}
        raise_problems([*self._too_much(new), *self.refuse(wanted, action == "reload")], "change")
        changes = [
            Change(key=key, before=seen(key, before[key], self.config), after=seen(key, value, wanted))
            for key, value in new.items()
        ]
        version = Version(action=action, who=who, changes=(*changes, *made), state=state)
        config = _with_masks(with_values(self.config, new), self.config, wanted)
        if action == "reload" and not changes:
            self._loaded = loaded
            return self._tell_waiting(wanted, version)
        version = await self._keep(version)
        before_all = self.config, self._loaded, self._state
        self.config, self._loaded, self._state = config, loaded, state
        await self._apply(before_all, changes)
        return self._tell_waiting(wanted, version)

    async def _apply(self, before: tuple[Config, Loaded, State], changes: Sequence[Change]) -> None:
        """Tell the parts of what holds now; when one fails, all go back. Raises InternalError."""
        old, now = before[0], self.config
        try:
            self.apply(old, now)
        except Exception as error:
            # a part that fails is our mistake; whoever asked shall not be left with half of a change
            log.exception("a part of the server failed over a change of the configuration: it is taken back")
            self.config, self._loaded, self._state = before
            try:
                self.apply(now, old)
            except Exception:
                log.exception("and over taking it back; a restart is needed")
            undone = [msgspec.structs.replace(one, before=one.after, after=one.before) for one in changes]
            with trio.CancelScope(shield=True):
                taken_back = Version(action="rollback", who="the server", changes=tuple(undone), state=self._state)
                await self._keep(taken_back)
            raise InternalError(f"a part of the server refused the change, and all is as it was: {error}") from error

    async def _keep(self, version: Version) -> Version:
        version = self._numbered(version)
        try:
            await self._room.add(version)
        except StoreError:
            if version.action != "reload" and not (version.changes and version.changes[0].agent):
                raise
            # the files, or what the store has of the agent, say it as well
            log.exception("a change of the configuration holds, but is not in the history")
            return version
        return self._tell(version)

    def _numbered(self, version: Version) -> Version:
        return msgspec.structs.replace(version, version=self._version + 1, at=time.time())

    def _tell(self, version: Version) -> Version:
        """It is in the store."""
        self._version = version.version
        self.announce(version)
        for change in version.changes:
            place = f"agent {change.agent}: " if change.agent else ""
            log.info("%s%s: %s -> %s (version %d, %s by %s)", place, change.key, change.before, change.after,
                     version.version, version.action, version.who)  # fmt: skip
        return version

    async def _set_agent(self, agent: str, changes: Mapping[str, Any], who: str) -> Version:
        kept = Version(action="set", who=who, state=self._state)

        def also(made: Sequence[Change]) -> Callable[[apsw.Connection], None]:
            nonlocal kept
            kept = self._numbered(msgspec.structs.replace(kept, changes=tuple(made)))
            return partial(write_version, version=kept)

        await self._configure(agent, changes, also)
        return self._tell(kept) if kept.version else await self._keep(kept)

    def _of_agents(self, undone: Sequence[Version]) -> Mapping[str, Mapping[str, Any]]:
        """What agents are told to go back before these: to the oldest value, where the newest is what holds."""
        assert self.agents is not None, "the node gives them before it is ready"
        back: dict[str, dict[str, tuple[Any, Any]]] = {}
        for row in undone:
            for change in row.changes:
                if not change.agent:
                    continue
                if self.agents.created_at(change.agent) > row.at:
                    log.warning("version %d changed an agent %s that is no more", row.version, change.agent)
                    continue
                known = back.setdefault(change.agent, {})
                known[change.key] = (change.before, known[change.key][1] if change.key in known else change.after)
        wanted: dict[str, dict[str, Any]] = {}
        for name, keys in back.items():
            now = self.agents.values(name)
            for key, (before, after) in keys.items():
                if now[key] == after:
                    wanted.setdefault(name, {})[key] = before
                else:
                    log.warning("agent %s: %s stays %s, which came by an update", name, key, now[key])
        return wanted

    async def _configure(self, name: str, changes: Mapping[str, Any], also: Also) -> Sequence[Change]:
        assert self.agents is not None, "the node gives them before it is ready"
        return await self.agents.configure(name, changes, also)

    def _given(self, key: str, value: Any) -> Any:
        """A new value of the key, as the store keeps it. Any: as people write it."""
        written = shown(key, value_in(nested(key, value), key))
        if not secret_members(leaves()[key]):
            return written
        # what the files have stays in the files, and follows them; what only a change said is kept with the change
        in_files = unmasked(key, written, values(self._loaded.config)[key])
        now = unmasked(key, written, values(self.config)[key])
        lost = [f"{key}[{index}]: {MASK} hides a secret that is not known here" for index, row in enumerate(now)
                if MASK in row.values()]  # fmt: skip
        raise_problems(lost, "change")
        return [
            {name: MASK if row[name] == MASK and there[name] == held else held for name, held in full.items()}
            for row, there, full in zip(written, in_files, now, strict=True)
        ]

    def _build(self, loaded: Loaded, state: State) -> Config:
        """Rule 3."""
        known = values(loaded.config)
        problems: list[str] = []
        old: list[Layer] = []
        new: list[Layer] = []
        for key, one in state.items():
            value = unmasked(key, one.value, known[key])
            if secret_members(leaves()[key]) and any(MASK in row.values() for row in value):
                problems.append(f"{key}: version {one.version} takes a secret from files that have it no more")
            layer = Layer(f"version {one.version}", nested(key, _literal(value)), {})
            (old if one.version <= self._started_with else new).append(layer)
        raise_problems(problems, "configuration")
        files = [layer for layer in loaded.layers if layer.file]
        above = [layer for layer in loaded.layers if not layer.file]
        return build([*files, *old, *above, *new], loaded.environ, fetched=loaded.fetched)

    def _too_much(self, changed: Mapping[str, Any]) -> list[str]:
        ceilings = self.ceilings()
        return [
            f"{key}: {shown(key, value)} is more than the {shown(key, ceilings[key][0])} that this server can have "
            f"without a restart: {ceilings[key][1]}"
            for key, value in changed.items()
            if key in ceilings and value > ceilings[key][0]
        ]

    def _after_restart(self, wanted: Keys) -> dict[str, Any]:
        now, then = values(self.config), values(wanted)
        return {
            key: seen(key, then[key], wanted)
            for key, leaf in leaves().items()
            if now[key] != then[key] and not leaf.key.inactive and not leaf.key.secret
        }

    def _tell_waiting(self, wanted: Keys, version: Version) -> Version:
        for key, value in self._after_restart(wanted).items():
            log.warning("%s: %s is in the files, and needs a restart", key, value)
        return version


def _hide(loaded: Loaded) -> None:
    logs.hide(value for value in (loaded.fetched or {}).values() if isinstance(value, str))
    logs.hide(secret_texts(loaded.config))


def _with_masks(config: Config, before: Config, wanted: Config) -> Config:
    """What was a secret stays one until its key has another value."""
    now, then = values(config), values(wanted)
    kept = [key for key in before.masked if key not in wanted.masked and now[key] != then[key]]
    return msgspec.structs.replace(config, masked=(*wanted.masked, *kept))


def _literal(value: object) -> object:
    """Texts as they stand: who may change a key is not told what the server's variables hold."""
    if isinstance(value, Mapping):
        return {name: _literal(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(held) for held in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _refused(key: str) -> str:
    """Why a running server does not change this key."""
    leaf = leaves().get(key)
    if leaf is None:
        return unknown_key(key)
    if leaf.key.inactive:
        return f"{key}: not active in this version: {leaf.key.inactive}"
    if leaf.key.dynamic.startswith(FILES):
        return f"{key}: only files say this: write it there, then `caxton config reload`"
    if not leaf.key.dynamic:
        reason = f" ({leaf.key.restart})" if leaf.key.restart else ""
        return f"{key}: needs a restart{reason}: `caxton config set --file FILE {key}=…`, then start the server again"
    return ""


def _nothing(made: Sequence[Change]) -> Callable[[apsw.Connection], None]:
    return lambda connection: None
