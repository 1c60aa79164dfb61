"""The published staff messages of ../shared/corpus and what the mapping makes of each: `corpus_golden.toml`.

Their text belongs to others, so that nothing of it stands here: of each record which element came of which field, what was
left over, what was found, and a digest of the resources, so that any change of a value is noticed. Each entry was compared
with its message field by field when it was written; whoever changes one compares again, by

    python -m tests.mapping.corpus_golden             what has changed
    python -m tests.mapping.corpus_golden --write     ... and take it over
    python -m tests.mapping.corpus_golden --show NAME   the resources themselves, on this screen alone
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hl7bridge.destinations.fhir.plan import plan_practitioner, plan_role
from hl7bridge.destinations.fhir.roles import role_intents
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.errors import MessageError
from hl7bridge.hl7 import batch
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import Explanation, explain
from hl7bridge.mapping.messages import events
from hl7bridge.model import Finding, Record, StaffChange, write_json
from tests.mapping.building import CORPUS, NOW, RULES

FILE = Path(__file__).with_suffix(".toml")
CHARSETS = ("utf-8", "latin-1")
SALT = "hl7bridge corpus golden"
DESTINATION = DestinationRules("golden", "http://127.0.0.1/fhir", mode="write")

Entry = dict[str, Any]


def files() -> list[Path]:
    return sorted(CORPUS.rglob("*.hl7")) if CORPUS.is_dir() else []


def staff_messages() -> Iterator[tuple[str, bytes]]:
    """Each message of the corpus that staff feeds take: its name and its bytes. Of several in a file each has a number."""
    for path in files():
        parts = batch.split(path.read_bytes()).messages
        for number, part in enumerate(parts, 1):
            try:
                message = Message(part, CHARSETS)
            except MessageError:
                continue
            if events.family(message.header) in (events.STAFF, events.PERSONNEL):
                name = f"{path.parent.name}/{path.stem}"
                yield (name if len(parts) == 1 else f"{name} {number}"), part


def resources(change: StaffChange, rules: DestinationRules = DESTINATION) -> list[dict[str, Any]]:
    """What a server that knows nobody would be sent."""
    person = plan_practitioner(change, "feed", rules, None, None, (), NOW)
    active = bool((person.body or {}).get("active"))
    roles = [
        plan_role(change, intent, "feed", rules, "", None, (), NOW)
        for intent in role_intents(change, (), rules, person_active=active)
    ]
    return [planned.body for planned in (person, *roles) if planned.body is not None]


def entry(raw: bytes) -> Entry:
    """What the mapping makes of a message, with no text of it."""
    try:
        found = explain(Message(raw, CHARSETS), RULES, NOW)
    except MessageError as error:
        return {"refused": _said(error.finding)}
    fields = {name: getattr(found, name) for name in ("valued", "used", "dropped", "unused", "unknown")}
    return {
        "fields": fields,
        "said": [_said(finding) for finding in found.translation.findings],
        "unknown": [f"{segment.name}[{segment.occurrence}]" for segment in found.segments],
        "record": [_record(record, found) for record in found.translation.records],
    }


def _record(record: Record, found: Explanation) -> Entry:
    change = record.change
    left = {True: [], False: []}  # type: dict[bool, list[str]]
    for one in found.left:
        if one.position == record.position:
            segment, _, number = one.field.partition("-")
            again = f"[{one.occurrence}]" if segment not in ("STF", "PRA", "MFE", "MFI", "EVN", "MSH") else ""
            left[one.dropped].append(f"{segment}{again}-{number}")
    written: Entry = {"result": change.action.value if change else "refused" if record.failed else "nothing"}
    if change is not None:
        written["content"] = list(_content(change))
    written |= {"said": [_said(f) for f in record.findings], "dropped": left[True], "unused": left[False]}
    if change is not None:
        text = write_json(
            [resources(change), json.loads(replace(change, mapping_version="").to_json())], sort_keys=True
        )
        written["digest"] = hashlib.sha256((SALT + text).encode()).hexdigest()[:32]
    return written


def _said(finding: Finding) -> str:
    return f"{finding.severity.value} {finding.code} {finding.local}@{finding.location}"


def _content(change: StaffChange) -> Iterator[str]:
    """`Practitioner.name[1]: family, given <- STF-3`: the leaves of each value and the field that it is of."""
    for identifier in change.identifiers:
        names = ["value", *(["system"] if identifier.system else ["(no system)"]), *_leaves(identifier.extra)]
        yield f"identifier: {', '.join(names)} <- {identifier.provenance}"
    groups = [("", change.practitioner), *((f"role {n}.", role.values) for n, role in enumerate(change.roles, 1))]
    for place, values in [*groups, ("shared role.", change.shared_role)]:
        for value in values:
            leaves = list(_leaves(value.value))
            yield f"{place}{value.element}{': ' + ', '.join(leaves) if leaves else ''} <- {value.provenance}"
    if change.active is not None:
        yield f"active = {str(change.active).lower()}"
    if change.effective:
        yield "effective"
    for field in change.cleared:
        yield f"cleared <- {field}"


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]" if len(value) > 1 else path)
    elif path:
        yield path


def read() -> dict[str, Entry]:
    """The file as it stands."""
    return tomllib.loads(FILE.read_text("utf-8")) if FILE.exists() else {}


def made() -> dict[str, Entry]:
    """What the file would hold now."""
    return {name: made_of(raw) for name, raw in staff_messages()}


def made_of(raw: bytes) -> Entry:
    """The entry of a message as the file holds it."""
    return _without_empty(entry(raw))


def _without_empty(one: Entry) -> Entry:
    kept = {key: value for key, value in one.items() if value != []}
    if "record" in kept:
        kept["record"] = [_without_empty(record) for record in kept["record"]]
    return kept


def text_of(entries: dict[str, Entry]) -> str:
    """The entries as TOML, a line for each value."""
    lines = ["# Written by python -m tests.mapping.corpus_golden --write: no text of a message stands here."]
    for name, one in entries.items():
        quoted = json.dumps(name)
        lines += ["", f"[{quoted}]", *_pairs(one)]
        for record in one.get("record", []):
            lines += ["", f"[[{quoted}.record]]", *_pairs(record)]
    return "\n".join(lines) + "\n"


def _pairs(one: Entry) -> Iterator[str]:
    for key, value in one.items():
        if key == "record":
            continue
        if isinstance(value, dict):
            yield f"{key} = {{ {', '.join(f'{name} = {number}' for name, number in value.items())} }}"
        elif isinstance(value, list) and key == "content":
            yield f"{key} = ["
            yield from (f"  {json.dumps(item)}," for item in value)
            yield "]"
        else:
            yield f"{key} = {json.dumps(value)}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mapping.corpus_golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="take over what has changed")
    parser.add_argument("--show", metavar="NAME", help="the resources of the messages with this in their name")
    options = parser.parse_args()
    if not files():
        print(f"{CORPUS} is not there", file=sys.stderr)
        return 2
    if options.show:
        for name, raw in staff_messages():
            if options.show in name:
                changes = [r.change for r in explain(Message(raw, CHARSETS), RULES, NOW).translation.records]
                shown = [body for change in changes if change for body in resources(change)]
                print(name, json.dumps(shown, indent=1, ensure_ascii=False), sep="\n")
        return 0
    before = FILE.read_text("utf-8") if FILE.exists() else ""
    after = text_of(made())
    difference = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
    print("\n".join(difference) or "nothing has changed")
    if options.write:
        FILE.write_text(after, "utf-8", newline="\n")
    return 0 if options.write or before == after else 1


if __name__ == "__main__":
    sys.exit(main())
