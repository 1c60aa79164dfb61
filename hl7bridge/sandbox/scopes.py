"""SMART system scopes, v1 (`system/Practitioner.read`) and v2 (`system/Practitioner.rs`): parsed, granted, enforced."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

ALL = "cruds"
_V1 = {"read": "rs", "write": "cud", "*": ALL}
_FORM = re.compile(r"system/([A-Za-z]+|\*)\.(read|write|\*|c?r?u?d?s?)")


@dataclass(frozen=True, slots=True)
class Scope:
    """One system scope: a resource type or "*", and letters of "cruds" in that order."""

    resource_type: str
    permissions: str

    def allows(self, resource_type: str, permission: str) -> bool:
        """Whether it allows an interaction that needs that letter, on that type."""
        return self.resource_type in ("*", resource_type) and permission in self.permissions


def parse(text: str) -> list[Scope]:
    """The system scopes of a space-separated list; what is none (`openid`, a v2 scope with a query) is left out."""
    found = []
    for word in text.split():
        match = _FORM.fullmatch(word)
        if match and match[2]:
            found.append(Scope(match[1], _V1.get(match[2], match[2])))
    return found


def grant(requested: str, allowed: str) -> str:
    """What is both requested and allowed, in the requested notation where it is given whole; everything when nothing is
    requested (RFC 6749, 3.3)."""
    if not requested.split():
        return allowed
    limits = parse(allowed)
    granted = []
    for word in requested.split():
        for wanted in parse(word):
            parts = [part for part in (_common(wanted, limit) for limit in limits) if part is not None]
            granted += [word] if wanted in parts else [_text(part, word) for part in parts]
    return " ".join(dict.fromkeys(granted))


def permits(scopes: str, resource_type: str, permission: str) -> bool:
    """Whether the granted scopes allow an interaction."""
    return any(scope.allows(resource_type, permission) for scope in parse(scopes))


def _common(one: Scope, other: Scope) -> Scope | None:
    kinds = {one.resource_type, other.resource_type} - {"*"}
    permissions = "".join(letter for letter in ALL if letter in one.permissions and letter in other.permissions)
    if len(kinds) > 1 or not permissions:
        return None
    return Scope(kinds.pop() if kinds else "*", permissions)


def _text(scope: Scope, asked: str) -> str:
    ending = asked.rpartition(".")[2]
    notation = _V1.items() if ending in _V1 else ()
    word = next((name for name, letters in notation if letters == scope.permissions), scope.permissions)
    return f"system/{scope.resource_type}.{word}"


def supported(resource_types: Iterable[str]) -> list[str]:
    """The scopes for `scopes_supported`."""
    return [f"system/{kind}.{word}" for kind in (*resource_types, "*") for word in ("read", "write", "*", "rs", ALL)]
