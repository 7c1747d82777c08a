"""What agents say of themselves: FIPA's descriptions as values, read from JSON, and when a template matches one.

Source: FIPA00023 (df-agent-description, service-description, ams-agent-description, search-constraints).

Rule 1: in JSON a member is written with `_` or `-`, `lease_time` as `lease-time`. A name is text, or an agent
        identifier (`{"name": ...}`), of which the name counts.
Rule 2: a template matches when everything that it gives is there: a name is the same name, each element of a set
        matches an element of the described set. Case does not matter, but in names of agents; of two spellings of a
        capability, `order_entry` and `order-entry`, either matches the other.
Rule 3: what does not read is an `Unanswered` with FIPA's word for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from caxton.core.answer import Unanswered

MAX_BYTES = 16384  # of one description as JSON
MAX_ITEMS = 256  # of one set
MAX_TEXT = 256  # bytes of one name


# gc=False, here and below: of tens of thousands that live long the collector need not look at any; none is in a cycle
class Service(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A service-description. What Caxton calls a capability is the type of a service."""

    name: str = ""
    type: str = ""
    protocols: tuple[str, ...] = ()
    ontologies: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    ownership: str = ""
    properties: dict[str, Any] = {}  # Any: JSON


class Description(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A df-agent-description; as a template each member may be absent."""

    name: str = ""
    services: tuple[Service, ...] = ()
    protocols: tuple[str, ...] = ()
    ontologies: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    lease_time: float | str | None = None  # seconds, or the moment as text; see `Directory`
    scope: tuple[str, ...] = ()


class AmsDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An ams-agent-description."""

    name: str = ""
    ownership: str = ""
    state: str = ""


class Constraints(msgspec.Struct, frozen=True, kw_only=True):
    """How much a search may find. `cursor` is where the last one ended."""

    max_depth: int = 0
    max_results: int | None = None  # None: as many as the directory usually gives; below 0: all
    search_id: str = ""
    cursor: int = 0


STATES = ("initiated", "active", "suspended", "waiting", "transit")  # of an ams-agent-description


# Any: decoded JSON, here and below
def read_description(value: Any, *, action: Any = None) -> Description:
    found: Description = _read(value, Description, "df-agent-description", action)
    return found


def read_ams_description(value: Any, *, action: Any = None) -> AmsDescription:
    found: AmsDescription = _read(value, AmsDescription, "ams-agent-description", action)
    if found.state and found.state not in STATES:
        raise Unanswered(
            "unrecognised-parameter-value",
            f"{found.state!r} is no state of an agent: {', '.join(STATES)}",
            action=action,
            object="ams-agent-description",
            parameter="state",
        )
    return found


def read_constraints(value: Any, *, action: Any = None) -> Constraints:
    found: Constraints = _read(value, Constraints, "search-constraints", action)
    return found


def check_complete(description: Description, *, action: Any = None) -> None:
    """Raise Unanswered when it is no description but only a template: FIPA's mandatory parameters."""
    _require(description.name, "df-agent-description", "name", action)
    for service in description.services:
        _require(service.name, "service-description", "name", action)
        _require(service.type, "service-description", "type", action)


def _require(value: str, thing: str, parameter: str, action: Any) -> None:
    if not value:
        text = f"a {thing} has a {parameter}"
        raise Unanswered("missing-parameter", text, action=action, object=thing, parameter=parameter)


def _read(value: Any, kind: type[Any], thing: str, action: Any) -> Any:
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise Unanswered(
            "unrecognised-parameter-value", f"a {thing} is an object of members", action=action, object=thing
        )
    if len(msgspec.json.encode(value)) > MAX_BYTES:
        raise Unanswered(
            "unrecognised-parameter-value", f"a {thing} has at most {MAX_BYTES} bytes", action=action, object=thing
        )
    members = _members(value, kind, thing, action)
    if "services" in members and isinstance(members["services"], list | tuple):
        members["services"] = [
            _members(each, Service, "service-description", action) if isinstance(each, Mapping) else each
            for each in members["services"]
        ]
    try:
        found = msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        raise Unanswered(
            "unrecognised-parameter-value", f"the {thing} does not read: {error}", action=action, object=thing
        ) from None
    if isinstance(found, Description):
        _bound(found, action)
    return found


def _members(value: Mapping[str, Any], kind: type[Any], thing: str, action: Any) -> dict[str, Any]:
    known = kind.__struct_fields__
    members = {str(key).replace("-", "_"): each for key, each in value.items() if each is not None}
    for key in members:
        if key not in known:
            raise Unanswered(
                "unexpected-parameter",
                f"a {thing} has no {key!r}; it has {', '.join(known)}",
                action=action,
                object=thing,
                parameter=key,
            )
    name = members.get("name")
    if isinstance(name, Mapping):
        members["name"] = name.get("name", "")
    return members


def _bound(description: Description, action: Any) -> None:
    sets: list[tuple[str, Sequence[Any]]] = [("services", description.services)]
    texts: list[tuple[str, str]] = [("name", description.name)]
    described: list[Description | Service] = [description, *description.services]
    for each in described:
        sets += [("protocols", each.protocols), ("ontologies", each.ontologies), ("languages", each.languages)]
        texts += [(key, text) for key, items in sets[-3:] for text in items]
    for service in description.services:
        texts += [("name", service.name), ("type", service.type)]
    for key, items in sets:
        if len(items) > MAX_ITEMS:
            text = f"{len(items)} {key} are too many; the limit is {MAX_ITEMS}"
            raise Unanswered("unrecognised-parameter-value", text, action=action, parameter=key)
    for key, text in texts:
        if len(text.encode()) > MAX_TEXT or "\0" in text:
            problem = f"{text[:40]!r}... has more than {MAX_TEXT} bytes, or a NUL"
            raise Unanswered("unrecognised-parameter-value", problem, action=action, parameter=key)


# -- matching --


def fold(text: str) -> str:
    """What two spellings of the same thing have in common."""
    return text.casefold().replace("_", "-")


def matches(template: Description, description: Description) -> bool:
    """Whether the description has everything that the template gives."""
    if template.name and template.name != description.name:
        return False
    if not _sets_match(template, description) or not _has_all(template.scope, description.scope or ("global",)):
        return False
    return all(any(_service_matches(want, have) for have in description.services) for want in template.services)


def _service_matches(want: Service, have: Service) -> bool:
    for wanted, found in ((want.name, have.name), (want.type, have.type), (want.ownership, have.ownership)):
        if wanted and fold(wanted) != fold(found):
            return False
    if not _sets_match(want, have):
        return False
    return all(
        key in have.properties and (value is None or have.properties[key] == value)
        for key, value in want.properties.items()
    )


def _sets_match(want: Description | Service, have: Description | Service) -> bool:
    return (
        _has_all(want.protocols, have.protocols)
        and _has_all(want.ontologies, have.ontologies)
        and _has_all(want.languages, have.languages)
    )


def _has_all(wanted: Iterable[str], found: Iterable[str]) -> bool:
    have = None
    for each in wanted:
        if have is None:
            have = {fold(text) for text in found}
        if fold(each) not in have:
            return False
    return True


def keys_of(description: Description) -> set[tuple[str, str]]:
    """What it can be found by. Whatever a template gives here, each description that it matches has too."""
    keys = {("name", description.name)} if description.name else set()
    for kind, items in (
        ("protocol", description.protocols),
        ("ontology", description.ontologies),
        ("language", description.languages),
    ):
        keys |= {(kind, fold(each)) for each in items}
    for service in description.services:
        if service.type:
            keys.add(("type", fold(service.type)))
        if service.name:
            keys.add(("service", fold(service.name)))
        for kind, items in (
            ("service-protocol", service.protocols),
            ("service-ontology", service.ontologies),
            ("service-language", service.languages),
        ):
            keys |= {(kind, fold(each)) for each in items}
    return keys


def merged(name: str, parts: Sequence[Description]) -> Description:
    """One description of several of the same agent; of two services with one name and type the later one counts."""
    services: dict[tuple[str, str], Service] = {}
    for part in parts:
        for service in part.services:
            services[fold(service.name), fold(service.type)] = service

    def union(key: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each for part in parts for each in getattr(part, key)))

    return Description(
        name=name,
        services=tuple(services.values()),
        protocols=union("protocols"),
        ontologies=union("ontologies"),
        languages=union("languages"),
        scope=union("scope"),
    )


def service_of(capability: str, **properties: Any) -> Service:
    """A declared capability, which may carry a version, as a service."""
    kind, _, version = capability.partition(":")
    if version:
        properties["version"] = version.removeprefix("v")
    return Service(name=capability, type=kind, properties=properties)
