"""`hl7bridge roster`: everybody whom a destination holds, for a spreadsheet or another program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, JsonOption
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject, write_json

if TYPE_CHECKING:
    from hl7bridge.desk.setup.asking import ListedPerson, Listing

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
    roles: Annotated[bool, typer.Option("--roles", help="With their roles.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Export everybody whom a destination holds, page by page; nothing is written there.

    \b
      hl7bridge roster --out people.csv
      hl7bridge roster ehr --active --roles --out people.jsonl

    Next links are followed as the server writes them, to the last page; a search that expires on the way starts over, and
    nobody is listed twice. Who has no `active` counts as active. In the CSV, a cell that a spreadsheet would take for a
    formula begins with an apostrophe.

    Ends with 3 when the server does not give all of them.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.setup import asking

    if out is not None and out.suffix.lower() not in (".csv", ".jsonl"):
        raise ConfigError("not a kind of file that is written", key="--out", advice="End its name in .csv or .jsonl.")
    wanted = {True, False} if active == inactive else {active}
    count = 0
    everybody = asking.people(load(config), destination, with_roles=roles)
    with everybody as people, _writing(out, as_json) as write, _watched(people) as each:
        for person in each:
            if person.active in wanted:
                write(person)
                count += 1
    if out is not None:
        output.say(f"wrote {count} people to {out} ({people.pages} pages)")


@contextmanager
def _watched(people: Listing) -> Iterator[Iterator[ListedPerson]]:
    """Iterates under a progress bar, whose end is what the server said on the first page."""
    it = iter(people)
    first = next(it, None)

    def each(advance: Callable[[], None]) -> Iterator[ListedPerson]:
        if first is not None:
            yield first
            advance()
        for person in it:
            yield person
            advance()

    with output.progress("reading", people.total) as advance:
        yield each(advance)


@contextmanager
def _writing(out: Path | None, as_json: bool) -> Iterator[Callable[[ListedPerson], None]]:
    from hl7bridge.cli.spreadsheet import private_file, table
    from hl7bridge.desk.setup.asking import COLUMNS

    if out is not None and out.suffix.lower() == ".csv":
        with table(out, COLUMNS) as add:
            yield lambda person: add(person.row)
    elif out is not None:
        with private_file(out) as file:
            yield lambda person: file.writelines(write_json(one) + "\n" for one in (person.resource, *person.roles))
    elif as_json:
        found: list[JsonObject] = []
        yield lambda person: found.append({"practitioner": person.resource, "roles": list(person.roles)})
        output.show_json("roster/1", {"people": found})
    else:
        rows: list[tuple[str, ...]] = []
        yield lambda person: rows.append(person.row)
        output.show_table(COLUMNS, rows, {"inactive": output.QUIET})
