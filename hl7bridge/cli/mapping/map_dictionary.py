"""`hl7bridge map dictionary`: what each FHIR element is made of, generated from the mapping in force."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.messages.names import names
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import Feed

COLUMNS = ("element", "field", "name", "rule", "table", "codes", "condition", "from", "owner", "review")


def dictionary(
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="As this feed is read.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, for a spreadsheet.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List every FHIR element: the field, rule and code table that it is made of, its owner and next review.

    \b
      hl7bridge map dictionary
      hl7bridge map dictionary --feed staff --csv > attributes.csv

    Made from the mapping itself, so that it cannot be out of date. Owner and review are those of the feed's map.

    Ends with 1 when the review of the map is overdue.
    """
    from hl7bridge.config import load

    if as_csv and as_json:
        raise ConfigError("--csv and --json", advice="Choose one of them.")
    one = stored.feed_named(load(config), feed)
    rows = rows_of(one)
    review = one.site.map.review
    overdue = bool(review.next) and date.fromisoformat(review.next) < datetime.now(UTC).date()
    if as_json:
        data = {"feed": one.name, "map": one.map, "owner": review.owner, "review": review.next, "overdue": overdue}
        output.show_json("map-dictionary/1", {**data, "rows": rows})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        output.show_table(COLUMNS[:8], [[row[column] for column in COLUMNS[:8]] for row in rows])
    if overdue:
        output.say(("review overdue: ", "yellow"), f"{one.site.where('review.next')} says {review.next}")
        raise typer.Exit(ExitCode.FINDINGS)


def rows_of(feed: Feed) -> list[dict[str, str]]:
    """The rows of a feed's dictionary, by element and field."""
    from hl7bridge.assemble.mapping import feed_rules
    from hl7bridge.mapping.rules.plans import fields_in_force, target_of

    rules, review = feed_rules(feed), feed.site.map.review
    named = names(rules.fallback_version)
    rows = []
    for place, row in fields_in_force(rules).items():
        if "drop" in row:
            continue
        segment, _, number = place.partition("-")
        table = row.get("table", "")
        found = {
            "element": target_of(row),
            "field": place,
            "name": "" if segment.startswith("Z") else named.field(segment, int(number)).text,
            "rule": row["rule"],
            "table": table,
            "codes": str(len(rules.codes.get(table, {}))) if table else "",
            "condition": row.get("when", ""),
            "from": feed.site.file if place in rules.fields else "packaged",
            "owner": review.owner,
            "review": review.next,
        }
        rows.append(found)
    return sorted(rows, key=lambda row: (row["element"], row["field"].partition("-")[0]))
