"""`hl7bridge roster`: everybody whom a FHIR server knows, for a spreadsheet or another program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, JsonOption
from hl7bridge.destinations.fhir.identity.systems import NPI, canonical_system
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject, write_json

if TYPE_CHECKING:
    pass

COLUMNS = ("id", "active", "family", "given", "npi", "identifiers", "telecom", "gender", "updated", "version", "roles")


DestinationArgument = Annotated[
    str, typer.Argument(metavar="[DESTINATION]", help="A file of conf/destinations; needed where there are several.")
]


def roster(
    destination: DestinationArgument = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="FILE.csv for a spreadsheet, or FILE.jsonl, as it came."),
    ] = None,
    active: Annotated[bool, typer.Option("--active", help="Those who are active.")] = False,
    inactive: Annotated[bool, typer.Option("--inactive", help="Those who are not.")] = False,
    roles: Annotated[bool, typer.Option("--roles", help="With their PractitionerRole resources.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Export every Practitioner of a FHIR server, page by page; nothing is written there.

    \b
      hl7bridge roster --out people.csv
      hl7bridge roster ehr --active --roles --out people.jsonl

    Next links are followed as the server writes them, to the last page; a search that expires on the way starts over, and
    nobody is listed twice. Who has no `active` counts as active. In the CSV, a cell that a spreadsheet would take for a
    formula begins with an apostrophe.

    Ends with 3 when the server does not give all of them.
    """
    from hl7bridge.assemble.choosing import fhir_server_named
    from hl7bridge.assemble.destinations import client_for, destination_rules
    from hl7bridge.config import load
    from hl7bridge.destinations.fhir.wire.roster import Roster

    if out is not None and out.suffix.lower() not in (".csv", ".jsonl"):
        raise ConfigError("not a kind of file that is written", key="--out", advice="End its name in .csv or .jsonl.")
    chosen = fhir_server_named(load(config), destination, "DESTINATION")
    client = client_for(chosen, destination_rules(chosen))
    wanted = {True, False} if active == inactive else {active}
    count = 0
    try:
        by_person = _by_person(Roster(client, "PractitionerRole")) if roles else {}
        people = Roster(client, "Practitioner")
        with _writing(out, as_json) as write, _watched(people) as each:
            for person in each:
                if (person.get("active") is not False) in wanted:
                    write(person, by_person.get(person["id"], []))
                    count += 1
    finally:
        client.close()
    if out is not None:
        output.say(f"wrote {count} people to {out} ({people.pages} pages)")


@contextmanager
def _watched(people: Any) -> Iterator[Iterator[JsonObject]]:
    """Iterates under a progress bar, whose end is what the server said on the first page."""
    it = iter(people)
    first = next(it, None)

    def each(advance: Callable[[], None]) -> Iterator[JsonObject]:
        if first is not None:
            yield first
            advance()
        for person in it:
            yield person
            advance()

    with output.progress("reading", people.total) as advance:
        yield each(advance)


Write = Callable[[JsonObject, list[JsonObject]], None]


@contextmanager
def _writing(out: Path | None, as_json: bool) -> Iterator[Write]:
    from hl7bridge.cli.spreadsheet import private_file, table

    if out is not None and out.suffix.lower() == ".csv":
        with table(out, COLUMNS) as add:
            yield lambda person, roles: add(row_of(person, roles))
    elif out is not None:
        with private_file(out) as file:
            yield lambda person, roles: file.writelines(write_json(one) + "\n" for one in (person, *roles))
    elif as_json:
        found: list[JsonObject] = []
        yield lambda person, roles: found.append({"practitioner": person, "roles": roles})
        output.show_json("roster/1", {"people": found})
    else:
        rows: list[tuple[str, ...]] = []
        yield lambda person, roles: rows.append(row_of(person, roles))
        output.show_table(COLUMNS, rows, {"inactive": output.QUIET})


def _by_person(roles: Iterable[JsonObject]) -> dict[str, list[JsonObject]]:
    """Roles by the id of their Practitioner; those of nobody are left out."""
    found: dict[str, list[JsonObject]] = {}
    for role in roles:
        reference = _of(role.get("practitioner")).get("reference")
        if isinstance(reference, str) and "Practitioner/" in reference:
            person = reference.partition("/_history/")[0].rpartition("Practitioner/")[2]
            found.setdefault(person, []).append(role)
    return found


def row_of(person: JsonObject, roles: list[JsonObject]) -> tuple[str, ...]:
    """One line of the table. Of a name the official one, else the first."""
    names = [name for name in _items(person.get("name")) if isinstance(name, dict)]
    name = next((name for name in names if name.get("use") == "official"), names[0] if names else {})
    identifiers = [one for one in _items(person.get("identifier")) if isinstance(one, dict)]
    npis = [_text(one.get("value")) for one in identifiers if canonical_system(_text(one.get("system"))) == NPI]
    meta = _of(person.get("meta"))
    return (
        str(person["id"]),
        _standing(person),
        _text(name.get("family")),
        " ".join(_text(given) for given in _items(name.get("given"))),
        " ".join(npis),
        "; ".join(f"{_text(one.get('system'))}|{_text(one.get('value'))}" for one in identifiers),
        "; ".join(_text(one.get("value")) for one in _items(person.get("telecom")) if isinstance(one, dict)),
        _text(person.get("gender")),
        _text(meta.get("lastUpdated")),
        _text(meta.get("versionId")),
        "; ".join(_role(role) for role in roles),
    )


def _standing(resource: JsonObject) -> str:
    return "inactive" if resource.get("active") is False else "active"


def _role(role: JsonObject) -> str:
    """`Cardiology, Physician (active)`."""
    unit = _of(role.get("organization"))
    words = [
        _text(unit.get("display")) or _text(_of(unit.get("identifier")).get("value")) or _text(unit.get("reference"))
    ]
    for element in ("code", "specialty"):
        for concept in _items(role.get(element)):
            coding = next((one for one in _items(_of(concept).get("coding")) if isinstance(one, dict)), {})
            words.append(_text(_of(concept).get("text")) or _text(coding.get("display")) or _text(coding.get("code")))
    return f"{', '.join(filter(None, words)) or role['id']} ({_standing(role)})"


def _of(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
