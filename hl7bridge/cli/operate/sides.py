"""Both sides of a quarantined record: what it says of the person, and whom it may be about; on the screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hl7bridge.cli import output
from hl7bridge.model import JsonObject


def show_sides(row: dict[str, Any]) -> None:
    """The record, then each candidate."""
    from hl7bridge.desk.quarantine import record_side

    output.show(
        (f"{row['id']}", "bold"), f"  {row['action']}  {row['feed']} {row['source_key']}  for {row['destination']}  ",
        (row["local"], output.BAD), "  " + row["asks"] if row["asks"] else "",
    )  # fmt: skip
    output.show(f"  {row['text']}")
    record = record_side(row["change"])
    _show_side("record", record, [(i["system"], i["value"], i["type"]) for i in record["identifier"]])
    for candidate in row["candidates"]:
        crosswalk = "  (written for this record before)" if candidate.get("id") == row["linked"] else ""
        show_candidate(candidate, crosswalk)
    if not row["candidates"] and row["linked"]:
        output.show(f"  Practitioner/{row['linked']}  written for this record before")


def show_candidate(resource: JsonObject, note: str = "") -> None:
    """A Practitioner as it stands at the server."""
    identifiers = [(i.get("system", ""), i.get("value", ""), i.get("use", "")) for i in _dicts(resource, "identifier")]
    _show_side(f"Practitioner/{resource.get('id', '')}{note}", resource, identifiers)


def _show_side(title: str, side: JsonObject, identifiers: Iterable[tuple[Any, Any, Any]]) -> None:
    said = side.get("active")
    active = "active" if said is True else "inactive" if said is False else ""
    names = "; ".join(_full_name(name) for name in _dicts(side, "name"))
    said_of_them = (names, active, str(side.get("gender") or ""), str(side.get("birthDate") or ""))
    output.show("  ", (title, "bold"), *(f"  {one}" for one in said_of_them if one))
    for system, value, kind in identifiers:
        output.show(f"      {value}", (f"  {system}" + (f"  ({kind})" if kind else ""), output.QUIET))


def _dicts(resource: JsonObject, element: str) -> list[JsonObject]:
    items = resource.get(element)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _full_name(name: JsonObject) -> str:
    given = name.get("given")
    parts = [*(given if isinstance(given, list) else []), name.get("family", "")]
    return " ".join(str(part) for part in parts if part) or str(name.get("text", ""))
