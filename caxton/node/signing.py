"""Signing keys as an operator handles them: made with the agent that needs one, registered, looked at, forgotten.

Rule 1: a key is in the store before it is used, and goes with its agent: another of the same name has another key.
Rule 2: with the first agent that signs or verifies, the platform's own agents get keys too: their answers and failures
        have to reach an agent that takes signed messages only.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from caxton.bus.signing import Signing, check_library, read_public_key
from caxton.core.acl.names import split_name
from caxton.core.errors import InvalidConfig, InvalidTransition, NotFound, StoreError
from caxton.core.manifest import RESERVED_NAMES, AgentSpec, SigningConfig
from caxton.store import Store
from caxton.store.signing_keys import StoredKey


class SigningKeys:
    def __init__(self, signing: Signing, store: Store) -> None:
        self._signing = signing
        self._store = store
        self.kind_of: Callable[[str], str] = lambda agent: ""  # of an agent here; "": there is none

    async def load(self) -> None:
        self._signing.load(await self._store.signing_keys.all())

    # -- for agents that come, change and go --

    async def prepare(self, spec: AgentSpec) -> None:
        """What the agent needs before it starts. Raises InvalidConfig."""
        asked = spec.config.signing
        if asked == SigningConfig():
            return
        check_library()
        if asked.public_key:
            if spec.kind != "attached":
                raise InvalidConfig("signing.public_key: the server holds the key of an agent that runs in it")
            await self._put(spec.name, read_public_key(asked.public_key))
        for name in (*RESERVED_NAMES, *([spec.name] if asked.sign else [])):
            known = self._signing.key(name)
            if known is None or known.private is None:
                await self._put(name, self._signing.make())

    def fit(self, spec: AgentSpec, ports: Sequence[int]) -> None:
        """The agent has these ports now."""
        self._signing.set_ports(dict.fromkeys(ports, spec.config.signing))

    async def take_back(self, agent: str) -> None:
        """Its deployment failed."""
        if self._signing.key(agent) is not None:
            with suppress(StoreError):
                await self._store.signing_keys.put(agent, None)
            self._signing.forget(agent)

    def gone(self, agent: str) -> None:
        """It was deleted, and in the store its key with it."""
        self._signing.forget(agent)

    # -- for people; Any: JSON --

    def public_key(self, agent: str) -> str:
        """In Base64; empty when it has none."""
        key = self._signing.key(agent)
        return str(key.shown()["public_key"]) if key is not None else ""

    def list(self) -> dict[str, Any]:
        home = self._signing.home
        rows = [{"agent": agent, **key} for agent, key in self._signing.shown().items()]
        return {"platform": home.name, "keys": rows}

    def get(self, agent: str) -> dict[str, Any]:
        """Raises NotFound."""
        key = self._signing.key(agent)
        if key is None:
            raise NotFound(f"there is no signing key of {agent!r}", details={"agent": agent})
        return {"agent": agent, "platform": self._signing.home.name, **key.shown()}

    async def put(self, agent: str, public_key: str) -> dict[str, Any]:
        """Register the key of an agent that signs for itself: of another platform, or attached here.

        Raises InvalidRequest, NotFound, InvalidTransition.
        """
        if not split_name(agent)[1]:
            kind = self.kind_of(agent)
            if not kind:
                raise NotFound(
                    f"there is no agent named {agent!r}",
                    hint="an agent of another platform is name@platform",
                    details={"agent": agent},
                )
            if kind != "attached":
                raise InvalidTransition(
                    f"{agent!r} runs in the server, which holds its key: deploy it with signing.sign"
                )
        await self._put(agent, read_public_key(public_key))
        return self.get(agent)

    async def remove(self, agent: str) -> None:
        """Raises NotFound, InvalidTransition."""
        if self.get(agent)["held_by"] == "server":
            raise InvalidTransition(
                f"the key of {agent!r} goes with the agent, or when it is deployed without signing.sign"
            )
        await self._store.signing_keys.put(agent, None)
        self._signing.forget(agent)

    async def _put(self, agent: str, key: StoredKey) -> None:
        await self._store.signing_keys.put(agent, key)
        self._signing.put(agent, key)
