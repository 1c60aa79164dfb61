"""Records as the store keeps them: JSON bytes with a codec number, and back.

Codec 0 is plain. Whatever holds values of a message (bodies, echoes, changes, before and after) has a codec and a key
id beside it, so that encryption can come without another layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from hl7bridge.errors import StoreError
from hl7bridge.model import (
    Difference,
    Exchange,
    Finding,
    Interaction,
    JsonObject,
    Location,
    Record,
    RecordEcho,
    Severity,
    StaffChange,
    Written,
    read_json,
    values_from_json,
    values_to_json,
    write_json,
)

PLAIN = 0
_ENCODE = json.JSONEncoder().encode


def unseal(codec: int, content: bytes) -> bytes:
    """The stored bytes in plain. Raises StoreError for a codec that this version does not know."""
    if codec != PLAIN:
        raise StoreError(f"the store holds content in codec {codec}, which this version of hl7bridge cannot read")
    return content


def echo_to_text(echo: RecordEcho) -> str:
    """Read back by `record_from_row`."""
    return _ENCODE([echo.event, echo.control_id, echo.key, echo.key_type])


def findings_to_text(findings: Sequence[Finding]) -> str:
    """JSON text, "" for none. Findings hold no values of a message."""
    return f"[{', '.join(map(_finding_to_text, findings))}]" if findings else ""


def findings_from_text(text: str) -> tuple[Finding, ...]:
    """The inverse of `findings_to_text`."""
    return tuple(_finding_from_list(item) for item in json.loads(text)) if text else ()


def _finding_to_text(finding: Finding) -> str:
    said = _said(finding.code, finding.local, finding.text, finding.severity)
    place = finding.location
    if place is None:
        return f"{said}, null, {finding.position}]"
    where = f"{place.occurrence}, {place.field}, {place.repetition}, {place.component}"
    return f"{said}, [{_name(place.segment)}, {where}], {finding.position}]"


@lru_cache(maxsize=1024)
def _said(code: str, local: str, text: str, severity: Severity) -> str:
    """The begin of a finding, which message after message, and record after record, has again."""
    return _ENCODE([code, local, text, severity.value])[:-1]


_name = lru_cache(maxsize=1024)(_ENCODE)


def _finding_from_list(item: list[Any]) -> Finding:
    code, local, text, severity, where, position = item
    return Finding(code, local, text, Severity(severity), Location(*where) if where else None, position)


def record_from_row(position: int, findings: str, codec: int, echo: bytes, change: bytes | None) -> Record:
    """The record as it was accepted, equal to the one that was given."""
    return Record(
        position,
        RecordEcho(*json.loads(unseal(codec, echo))),
        None if change is None else StaffChange.from_json(unseal(codec, change).decode()),
        findings_from_text(findings),
    )


def written_to_bytes(written: Written) -> bytes:
    """The values of a base; its other fields have columns."""
    return write_json(values_to_json(written.values)).encode()


def written_from_row(row: Sequence[Any]) -> Written:
    """From (resource_type, resource_id, content, codec, role_key, origin, holds_active, feed, source_key, version)."""
    resource_type, resource_id, content, codec, role_key, origin, holds_active, feed, source_key, version = row
    values = values_from_json(read_json(unseal(codec, content)))
    return Written(resource_type, resource_id, values, role_key, origin, bool(holds_active), feed, source_key, version)


def interactions_to_bytes(
    interactions: Iterable[Interaction], drift: Iterable[Difference], candidates: Sequence[JsonObject] = ()
) -> bytes:
    """What was planned and why, with before and after, without bodies: people ask what a message changed. `candidates`:
    whom it may be about, where that is not clear."""
    return write_json(
        {
            **({"candidates": list(candidates)} if candidates else {}),
            "interactions": [
                {
                    "kind": interaction.kind.value,
                    "resource_type": interaction.resource_type,
                    "resource_id": interaction.resource_id,
                    "reason": interaction.reason,
                    "differences": _differences(interaction.differences),
                    "drift": _differences(interaction.drift),
                }
                for interaction in interactions
            ],
            "drift": _differences(drift),
        }
    ).encode()


def interactions_from_bytes(codec: int, content: bytes) -> JsonObject:
    """The inverse, as JSON: {"interactions": [...], "drift": [...]}."""
    read: JsonObject = read_json(unseal(codec, content))
    return read


def _differences(differences: Iterable[Difference]) -> list[JsonObject]:
    return [{"path": d.path, "before": d.before, "after": d.after, "field": d.field} for d in differences]


def exchanges_to_text(exchanges: Sequence[Exchange]) -> str:
    """JSON text, "" for none."""
    rows = [[e.method, e.resource_type, e.status, round(e.milliseconds, 3), e.request_id] for e in exchanges]
    return json.dumps(rows) if rows else ""


def exchanges_from_text(text: str) -> list[JsonObject]:
    """As people read them. Those of earlier versions have no request id."""
    return [asdict(Exchange(*item)) for item in json.loads(text)] if text else []
