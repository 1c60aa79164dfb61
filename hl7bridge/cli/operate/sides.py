"""Both sides of a quarantined record: what it says of the person, and whom it may be about; on the screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hl7bridge.cli import output

if TYPE_CHECKING:
    from hl7bridge.desk.identity.candidates import Candidate, Candidates
    from hl7bridge.desk.identity.quarantine import Unclear


def show_sides(unclear: Unclear, candidates: Candidates) -> None:
    """The record, then each candidate."""
    from hl7bridge.desk.identity.quarantine import record_facts

    row = unclear.row
    output.show(
        (f"{row.id}", "bold"), f"  {row.action}  {row.feed} {row.source_key}  for {row.destination}  ",
        (row.local, output.BAD), "  " + unclear.asks if unclear.asks else "",
    )  # fmt: skip
    output.show(f"  {row.text}")
    facts, identifiers = record_facts(row.change)
    _show_side("record", (fact.text for fact in facts), ((one.value, one.system, one.note) for one in identifiers))
    linked = row.linked
    for candidate in candidates.of(row):
        crosswalk = "  (written for this record before)" if candidate.person_id == linked else ""
        show_candidate(candidate, crosswalk)
    if not row.candidates and linked:
        output.show(f"  {candidates.shown(row.destination, linked)}  written for this record before")


def show_candidate(candidate: Candidate, note: str = "") -> None:
    """Somebody as they stand at the destination."""
    identifiers = ((one.value, one.system, one.note) for one in candidate.identifiers)
    _show_side(f"{candidate.shown}{note}", (fact.text for fact in candidate.facts), identifiers)


def _show_side(title: str, facts: Iterable[str], identifiers: Iterable[tuple[str, str, str]]) -> None:
    output.show("  ", (title, "bold"), *(f"  {one}" for one in facts))
    for value, system, note in identifiers:
        output.show(f"      {value}", (f"  {system}" + (f"  ({note})" if note else ""), output.QUIET))
