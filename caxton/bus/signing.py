"""Signed messages: keys, and the two checkpoints that messages of agents with `signing` in their manifest pass.

    guest with `sign`  →  .signer (here)  →  router  →  receiver
    anybody            →  router          →  .guard (here)  →  agent with `verify`

The native part gives the signer what such a guest sends, and the guard what is sent to such an agent: durable, in
order, like any mail of a host port. All other messages never come near (docs/adr/0007).

Rule 1: a private key is used here and read nowhere: not by REST, not in logs, not in a `repr`.
Rule 2: the runtime signs only for whom it has authenticated: its own guests, attached agents, the platform's agents.
Rule 3: what a receiver may not have is a dead letter, an event, a line of the audit log, and a `failure` to its sender.

`cryptography` is imported when the first key is needed: it belongs to the extra `caxton[fipa]`.
"""

import base64
import binascii
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import SEND_INVALID, SEND_MAILBOX_FULL, SEND_NO_RECEIVER, SEND_STOPPED, UNSENT, Scheduler
from caxton.bus.bus import Bus
from caxton.bus.delivery import NOT_AUTHENTIC
from caxton.bus.reserved import LATER, Later, ReservedAgent
from caxton.core.acl.names import Home, split_name
from caxton.core.errors import (
    AgentNotFound,
    CaxtonError,
    InvalidConfig,
    InvalidMessage,
    InvalidRequest,
    InvalidTransition,
    MailboxFull,
    RejectedError,
    StorageFull,
)
from caxton.core.manifest import SigningConfig
from caxton.core.signatures import ALGORITHM, Signable
from caxton.store.signing_keys import StoredKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

audit = logging.getLogger("caxton.audit")

SIGNER, GUARD = ".signer", ".guard"
KEY_BYTES: Final = 32
RETRY_SECONDS: Final = 0.5  # while the disk takes nothing, or the journal is behind
CODES: tuple[tuple[type[CaxtonError], int], ...] = (
    (AgentNotFound, SEND_NO_RECEIVER),
    (InvalidTransition, SEND_STOPPED),
    (MailboxFull, SEND_MAILBOX_FULL),
)


@attrs.frozen
class Key:
    """Of one agent. Whoever has no private key here signs for itself."""

    public: "Ed25519PublicKey"
    raw: bytes
    private: "Ed25519PrivateKey | None" = attrs.field(default=None, repr=False)

    def shown(self) -> dict[str, Any]:  # Any: JSON
        return {
            "algorithm": ALGORITHM,
            "public_key": base64.b64encode(self.raw).decode(),
            "fingerprint": "SHA256:" + base64.b64encode(hashlib.sha256(self.raw).digest()).decode().rstrip("="),
            "held_by": "owner" if self.private is None else "server",
        }


class Signing:
    def __init__(self, bus: Bus, scheduler: Scheduler, home: Home) -> None:
        self.home = home
        self._bus = bus
        self._scheduler = scheduler
        self._keys: dict[str, Key] = {}
        self._guarded: dict[int, str] = {}  # `verify` by port
        self.ports_of: Callable[[str], Sequence[int]] = lambda agent: ()  # of an agent here
        self._signer: ReservedAgent | None = None
        self._guard: ReservedAgent | None = None

    # -- keys --

    def load(self, stored: Mapping[str, StoredKey]) -> None:
        """What an earlier run kept."""
        for agent, key in stored.items():
            self._keys[agent] = _key(key)

    def make(self) -> StoredKey:
        """A new pair. Raises InvalidConfig when the library is not installed."""
        check_library()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.generate()
        return StoredKey(private.public_key().public_bytes_raw(), private.private_bytes_raw())

    def put(self, agent: str, key: StoredKey) -> None:
        self._keys[agent] = _key(key)
        self._bus.events.emit("key.set", {"agent_id": agent, **self._keys[agent].shown()})

    def forget(self, agent: str) -> None:
        if self._keys.pop(agent, None) is not None:
            self._bus.events.emit("key.removed", {"agent_id": agent})

    def key(self, agent: str) -> Key | None:
        return self._keys.get(agent)

    def shown(self) -> dict[str, dict[str, Any]]:  # Any: JSON
        return {agent: key.shown() for agent, key in sorted(self._keys.items())}

    # -- checkpoints --

    def open(self) -> None:
        """The checkpoints, as soon as an agent needs one; they stay."""
        if self._signer is not None:
            return
        check_library()
        self._signer = self._bus.reserved.host(SIGNER, self._sign)
        self._guard = self._bus.reserved.host(GUARD, self._check)
        self._scheduler.set_checkpoints(self._signer.port, self._guard.port)
        self._bus.set_signer(self.signed_by)

    def set_ports(self, ports: Mapping[int, SigningConfig]) -> None:
        """How these ports are treated from now on."""
        for port, asked in ports.items():
            is_guarded = asked.verify != "never"
            if asked.sign or is_guarded:
                self.open()
            if self._signer is not None:
                self._scheduler.set_signing(port, asked.sign, is_guarded)
            if is_guarded:
                self._guarded[port] = asked.verify
            else:
                self._guarded.pop(port, None)

    def forget_port(self, port: int) -> None:
        self._guarded.pop(port, None)

    # -- on the way out --

    def signed_by(self, sender: str, message: bytes) -> bytes:
        """The same with a signature, when the runtime signs for this sender; it was authenticated before.

        A message that cannot be read stays as it is: whoever posts it is told so.
        """
        key = self._keys.get(sender)
        if key is None or key.private is None:
            return message
        try:
            envelope = Envelope.from_json(message, max_size=self._bus.max_message_size)
        except RejectedError:
            return message
        return self._signed(envelope, sender, key.private)

    def _signed(self, envelope: Envelope, sender: str, private: "Ed25519PrivateKey") -> bytes:
        envelope = envelope.with_sender(sender)
        envelope.stamp(time.time_ns() // 1000)
        signable = Signable(envelope.to_json(), self.home)
        return signable.signed(private.sign(signable.covered(signable.receivers)))

    async def _sign(self, message: Envelope) -> Later | None:
        """What a guest sent, as its agent's own."""
        assert self._signer is not None
        sender = message.sender or ""
        key = self._keys.get(sender)
        text = message.to_json()
        if key is not None and key.private is not None:
            text = self._signed(message, sender, key.private)
        # without a key the agent was deleted, or its owner has it: the message goes as it is, and guards refuse it
        return await self._pass_on(self._signer, message, text, source=self._port_of(sender))

    def _port_of(self, sender: str) -> int:
        """Its port, when it has only one: it is not sent its own broadcast."""
        found = self.ports_of(sender)
        return found[0] if len(found) == 1 else 0

    # -- on the way in --

    async def _check(self, message: Envelope) -> Later | None:
        assert self._guard is not None
        ports = self._targets(message)
        if not ports:
            # its receiver is gone, or it came by broadcast_message, which names no receiver that could be checked
            return await self._give_up(self._guard, message, SEND_NO_RECEIVER, "no receiver that takes signed messages")
        text = message.to_json()
        left: Later | None = None
        for port in ports:
            try:
                self.verify(text, self._guarded[port])
            except RejectedError as error:
                left = await self._refuse(message, port, str(error))
            else:
                left = await self._pass_on(self._guard, message, text, target=port) or left
        return left

    def _targets(self, message: Envelope) -> Sequence[int]:
        """The guarded ports that it is for. Of several replicas or capable agents it may now be another's turn."""
        found = [port for port in self._scheduler.router.resolve(message) if port in self._guarded]
        if found:
            return found
        receivers = set(message.receivers)
        for port in self._guarded:
            if receivers.intersection(self._scheduler.router.keys(port)):
                return [port]
        return []

    def verify(self, message: bytes, how: str) -> None:
        """Raises InvalidMessage, saying why the message may not pass. *how*: `present` or `always`."""
        signable = Signable(message, self.home)
        if not signable.is_signed:
            if how == "always":
                raise InvalidMessage("the message is not signed, and the receiver takes signed messages only")
            return
        signature = signable.signature()
        local, platform = split_name(signable.sender)
        key = self._keys.get(local if self.home.is_own(platform) else signable.sender)
        if key is None:
            raise InvalidMessage(f"there is no public key of {signable.sender or 'nobody'}")
        if strangers := sorted(set(signable.receivers) - set(signature.to)):
            raise InvalidMessage(f"the message was signed for others than {strangers[0]}")
        from cryptography.exceptions import InvalidSignature

        try:
            key.public.verify(signature.bytes, signable.covered(signature.to))
        except InvalidSignature:
            raise InvalidMessage(f"the signature is not {signable.sender}'s of this message") from None

    async def _refuse(self, message: Envelope, port: int, reason: str) -> Later:
        assert self._guard is not None
        receiver = self._scheduler.name_of(port)
        data = {
            "message_id": message.message_id,
            "from": message.sender,
            "to": receiver,
            "performative": message.performative,
            "reason": reason,
        }
        audit.warning("a message was refused", extra={"event": "message.refused", **data})
        self._bus.events.emit("message.refused", data)
        return await self._give_up(self._guard, message, NOT_AUTHENTIC, f"{receiver}: {reason}")

    # -- both --

    async def _pass_on(
        self, checkpoint: ReservedAgent, message: Envelope, text: bytes, *, source: int = 0, target: int = 0
    ) -> Later | None:
        while True:
            try:
                self._scheduler.forward(text, message.sender or "", source=source, target=target)
            except StorageFull:
                await trio.sleep(RETRY_SECONDS)
            except CaxtonError as error:
                code = next((code for kind, code in CODES if isinstance(error, kind)), SEND_INVALID)
                return await self._give_up(checkpoint, message, code, str(error))
            else:
                return None

    async def _give_up(self, checkpoint: ReservedAgent, message: Envelope, code: int, text: str) -> Later:
        while True:
            try:
                self._scheduler.bury(checkpoint.port, message, UNSENT - code if code < 0 else code, text)
            except MailboxFull:  # the journal is behind
                await trio.sleep(RETRY_SECONDS)
            else:
                self._bus.undelivered(code, message, text)
                return LATER


def _key(stored: StoredKey) -> Key:
    check_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    private = None if stored.private is None else Ed25519PrivateKey.from_private_bytes(stored.private)
    return Key(Ed25519PublicKey.from_public_bytes(stored.public), stored.public, private)


def read_public_key(text: str) -> StoredKey:
    """Of 32 bytes in Base64, as `GET /api/v1/keys` writes it. Raises InvalidRequest, InvalidConfig."""
    check_library()
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise InvalidRequest(f"a public key is the Base64 of {KEY_BYTES} bytes, not {text[:60]!r}")
    key = StoredKey(raw, None)
    _key(key)
    return key


def check_library() -> None:
    if find_spec("cryptography") is None:
        raise InvalidConfig(
            "signing: the library for Ed25519 is not installed", hint="pip install 'caxton[fipa]' on the server"
        )
