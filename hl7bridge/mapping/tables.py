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

CODE_VERSION = "1"
"""Raised by hand when a rule's code changes what comes out of it, so that stored changes are known to be of an older one."""

_FILES = ("codes.toml", "events.toml", "fields.toml", "languages.toml")
_NOT_CODE_TABLES = frozenset({"identity", "systems", "national", "registered", "authorities"})

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


def named(section: str) -> dict[str, str]:
    """One of the sections of codes.toml that is no code table: systems, national, registered, authorities."""
    section_read: dict[str, str] = packaged("codes.toml")[section]
    return section_read


def merged(overrides: Mapping[str, Codes]) -> dict[str, Codes]:
    """The code tables in force: packaged ones overridden by key.

    An override's target that is a code of the packaged table stands for that code: `[tables.0001] W = "F"`.
    """
    tables: dict[str, Codes] = dict(code_tables())
    for number, codes in overrides.items():
        base = code_tables().get(number, {})
        tables[number] = {**base, **{code: base.get(target, target) for code, target in codes.items()}}
    return tables


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
