"""The packaged tables (*.toml), read once, and the version of the mapping that they make up together with the code.

A code table is a mapping from the sender's code to its target (codes.toml says how targets are written); a site's tables
override by key (`merged`).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from hl7bridge.errors import ConfigError
from hl7bridge.model import Action

CODE_VERSION = "2"
"""Raised by hand when a rule's code changes what comes out of it, so that stored changes are known to be of an older one."""

_FILES = ("codes.toml", "events.toml", "fields.toml", "languages.toml")
_NOT_CODE_TABLES = frozenset({"identity", "systems", "national", "typed", "registered", "authorities"})

Codes = Mapping[str, str]


@cache
def _text(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()


@cache
def packaged(name: str) -> dict[str, Any]:
    """One packaged file, parsed."""
    return tomllib.loads(_text(name).decode())


@cache
def code_tables() -> dict[str, dict[str, str]]:
    """Every packaged code table by number: `code_tables()["0001"]["F"] == "female"`."""
    read = packaged("codes.toml")
    tables = {number: dict(codes) for number, codes in read.items() if number not in _NOT_CODE_TABLES}
    for number, codes in read["identity"].items():
        same = {code: code for code in codes}
        tables[number] = {**same, **tables.get(number, {})}
    tables["0296"] = {}
    for tag, three_letter_codes in packaged("languages.toml")["languages"].items():
        for code in (tag, *three_letter_codes.split()):
            tables["0296"][code] = tag
    return tables


USES = frozenset({"home", "work", "temp", "old", "mobile", ""})
TARGETS: Mapping[str, frozenset[str]] = {
    "0001": frozenset({"male", "female", "other", "unknown"}),
    "0136": frozenset({"true", "false"}),
    "0175": frozenset({"staff", ""}),
    "0178": frozenset({"update", "replace"}),
    "0180": frozenset(action.value for action in Action),
    "0183": frozenset({"true", "false", ""}),
    "0185": frozenset({"pager", "mobile", "email", "fax", "home", "work"}),
    "0190": frozenset({"home", "work", "temp", "old", "billing", "birth", ""}),
    "0190-type": frozenset({"postal", "physical", "both"}),
    "0200": frozenset({"official", "usual", "maiden", "nickname", "anonymous", "temp", "old", ""}),
    "0201": USES,
    "0202": frozenset({"phone", "fax", "email", "pager", "url", "sms", "other"}),
    "0202-use": USES,
    "0337": frozenset({"certified", "eligible"}),
    "0404": frozenset({"none", ""}),
    "0536": frozenset({"ended", ""}),
}
"""Tables whose targets are words that FHIR, or a rule, knows: a site's entries must be of them."""


def named(section: str) -> dict[str, str]:
    """One of the sections of codes.toml that is no code table: systems, national, typed, registered, authorities."""
    section_read: dict[str, str] = packaged("codes.toml")[section]
    return section_read


def merged(overrides: Mapping[str, Codes]) -> dict[str, Codes]:
    """The code tables in force: packaged ones overridden by key.

    An override's target that is a code of the packaged table stands for that code: `[tables.0001] W = "F"`.
    Raises ConfigError for a target that could not be sent.
    """
    tables: dict[str, Codes] = dict(code_tables())
    for number, codes in overrides.items():
        base = code_tables().get(number, {})
        own = {code: base.get(target, target) for code, target in codes.items()}
        for code, target in own.items():
            _check(number, code, target)
        tables[number] = {**base, **own}
    return tables


def _check(number: str, code: str, target: str) -> None:
    key = f"tables.{number}.{code}"
    words = TARGETS.get(number)
    if words is not None and target not in words:
        allowed = ", ".join(sorted(word or '""' for word in words))
        raise ConfigError(f"{target!r} is no target of table {number}", key=key, advice=f"It is one of {allowed}")
    system, bar, rest = target.partition("|")
    if bar and not (system and rest.partition("|")[0]):
        raise ConfigError(f"{target!r} is not system|code|display", key=key)
    if bar and number in ("0203", "0296", "0338", "0396"):
        raise ConfigError(f"a target of table {number} is one word", key=key)


def field_table() -> dict[str, dict[str, str]]:
    """fields.toml without its `[segments]`: `STF-5` -> its keys (to, rule, table; or drop)."""
    return {place: row for place, row in packaged("fields.toml").items() if place != "segments"}


def segment_table() -> dict[str, dict[str, str]]:
    """`[segments]` of fields.toml: segments that are used or dropped as a whole, and why."""
    segments: dict[str, dict[str, str]] = packaged("fields.toml")["segments"]
    return segments


@cache
def mapping_version() -> str:
    """A short hash over the packaged tables and `CODE_VERSION`: equal versions translate equal bytes alike."""
    digest = hashlib.sha256(CODE_VERSION.encode())
    for name in _FILES:
        digest.update(_text(name).replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]
