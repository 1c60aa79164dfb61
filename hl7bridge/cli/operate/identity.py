"""`hl7bridge identity`: whom records are about: what is quarantined, link, unlink, duplicates, the map of ids."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, account, why
from hl7bridge.cli.operate import linking
from hl7bridge.cli.operate.linking import Decision, Decisions, quarantined
from hl7bridge.cli.operate.sides import both_sides, show_candidate, show_sides
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.cli.setup.servers import Servers, named
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject, Link

if TYPE_CHECKING:
    from hl7bridge.config import Destination
    from hl7bridge.store.store import Store

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Whom records are about: quarantined ones, link, unlink, duplicates.",
)

ID_MAP = "id-map/1"
_EVERY = 1_000_000_000

FeedArgument = Annotated[str, typer.Argument(metavar="FEED", help="The feed that the record came from.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The staff key in that feed.")]
OptionalFeed = Annotated[
    str, typer.Argument(metavar="FEED", show_default=False, help="The feed that the record came from.")
]
OptionalKey = Annotated[str, typer.Argument(metavar="KEY", show_default=False, help="The staff key in that feed.")]
DestinationOption = Annotated[str, typer.Option("--destination", metavar="NAME", help="Where there are several.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Read the candidates from the server now.")]


# --- quarantine ------------------------------------------------------------------------------------------------------


@app.command("list")
def list_quarantined(
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="Only this one.")] = "",
    fresh: FreshOption = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="No more than this.")] = 50,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List records of which it is not clear whom they are about, with both sides: the record, and who may be meant.

    \b
      hl7bridge identity list
      hl7bridge identity list --fresh --json
    """
    from hl7bridge.config import load

    settings = load(config)
    with stored.opened(settings) as store, Servers(settings) as servers:
        rows = quarantined(store, destination=destination, limit=limit + 1)
        more, rows = len(rows) > limit, [linking.with_question(store, row) for row in rows[:limit]]
        with output.progress("reading", len(rows) if fresh else 0) as advance:
            for row in rows if fresh else ():
                servers.refresh(row)
                advance()
    if as_json:
        output.show_json("identity-list/1", {"quarantined": [both_sides(row) for row in rows]})
        return
    for row in rows:
        show_sides(row)
    if not rows:
        output.say("Nothing is quarantined.")
    if more:
        output.say(f"The oldest {limit} only; --limit or --destination show others.")


@app.command("show")
def show_quarantined(
    delivery_id: Annotated[int, typer.Argument(metavar="ID", help="The id that `identity list` shows.")],
    fresh: FreshOption = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show one quarantined record and who may be meant, side by side, and what to do.

    \b
      hl7bridge identity show 42
      hl7bridge identity show 42 --fresh
    """
    from hl7bridge.config import load

    settings = load(config)
    with stored.opened(settings) as store, Servers(settings) as servers:
        row = linking.with_question(store, _one(store, delivery_id))
        if fresh:
            servers.refresh(row)
    if as_json:
        output.show_json("identity-show/1", both_sides(row))
        return
    show_sides(row)
    where = f"{row['feed']} {row['source_key']}"
    output.say(f"It is one of them:   hl7bridge identity link {where} PRACTITIONER-ID --release --reason WHY")
    output.say(f"It is none of them:  hl7bridge identity link {where} new --release --reason WHY")
    output.say("Identifiers are wrong: have them mended, then")
    output.say(f"                     hl7bridge hold release {delivery_id} --reason WHY")


def _one(store: Store, delivery_id: int) -> dict[str, Any]:
    found = quarantined(store, delivery_id=delivery_id)
    if not found:
        raise ConfigError(
            f"no quarantined delivery has the id {delivery_id}", advice="`hl7bridge identity list` shows them."
        )
    return found[0]


# --- link, unlink ----------------------------------------------------------------------------------------------------


@app.command("link")
def link_record(
    feed: OptionalFeed = "",
    key: OptionalKey = "",
    person_id: Annotated[
        str,
        typer.Argument(
            metavar="PRACTITIONER-ID", show_default=False, help="The id at the FHIR server, or the word new."
        ),
    ] = "",
    file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE.csv", help="Many at once: columns feed, key, practitioner.")
    ] = None,
    destination: DestinationOption = "",
    reason: ReasonOption = "",
    also: Annotated[bool, typer.Option("--also", help="Although another record of the feed is linked to it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Although family name or birth date differ.")] = False,
    release: Annotated[bool, typer.Option("--release", help="Release what is quarantined of this record.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, and change nothing.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Say whom a record is about: its changes go to that Practitioner, whatever its identifiers say.

    \b
      hl7bridge identity link staff E1042 17 --reason "checked with HR"
      hl7bridge identity link staff E1042 17 --release --reason "checked with HR"
      hl7bridge identity link staff E1042 new --release --reason "two people share a number"
      hl7bridge identity link --from decided.csv --release --reason "checked with HR"

    The Practitioner is read and shown first. One with clearly another family name or birth date than the record is refused
    unless --force says so, and one that another record of the same feed is linked to unless --also does. "new" says that the
    record is of a person of its own, whoever else carries its numbers; only its staff key finds that person from then on.
    With --release, other quarantined records that name the same Practitioners are planned again, too.

    A file has a line for each record: feed,key,practitioner, and where needed destination, also and force (yes). Nothing is
    linked while a line of it is wrong.
    """
    from hl7bridge.config import load

    settings, who = load(config), account()
    if (file is None) != bool(feed and key and person_id) or (file is not None and feed):
        advice = "Write FEED KEY PRACTITIONER-ID, or --from FILE.csv."
        raise ConfigError("say which record is about whom", advice=advice)
    reason = why(reason) if not dry_run else reason
    with stored.opened(settings) as store, Servers(settings) as servers:
        decisions = Decisions(store, settings, servers)
        if file is not None:
            chosen = _all_right(decisions, file, destination, as_json)
        else:
            chosen = [Decision(feed, key, person_id, destination, also, force)]
            resource = decisions.check(chosen[0])
            if resource is not None and not as_json:
                show_candidate(resource)
        done, left = [], []
        for decision in chosen if not dry_run else ():
            try:
                done.append((decision, decisions.carry_out(decision, who, reason)))
            except ConfigError as error:
                if file is None:
                    raise
                left.append(f"line {decision.line}: {error}")
        released, again = [], []
        if release and done:
            released = linking.release(store, settings, decisions.holds, who, reason)
            known = {row["id"] for row in decisions.holds}
            again = linking.plan_again(store, settings, decisions.decided, known, who, reason)
        rows = [_linked(decisions, decision, was) for decision, was in done]
    if as_json:
        told = {"dry_run": dry_run, "released": released, "planned_again": again, "problems": left}
        single = rows[0] if file is None and rows else {"rows": rows, "checked": len(chosen)}
        output.show_json("identity-link/1", {**single, **told})
    else:
        for row in rows:
            whom = f"Practitioner/{row['person_id']}" if row["person_id"] else "nobody who was found"
            was = f" (was {row['was']})" if row["was"] else ""
            output.show(f"{row['feed']} {row['source_key']} is linked to {whom} at {row['destination']}{was}")
        for problem in left:
            output.say(problem)
        if dry_run:
            output.show(f"{len(chosen)} can be linked; nothing was changed")
        for number in released:
            output.show(f"delivery {number} is released")
        for number in again:
            output.show(f"delivery {number} names the same Practitioner and is planned again")
        if decisions.holds and not release:
            output.say(
                f"Held of it: hl7bridge hold release {' '.join(str(r['id']) for r in decisions.holds)} --reason WHY"
            )
    if left:
        raise typer.Exit(ExitCode.FINDINGS)


def _all_right(decisions: Decisions, file: Path, destination: str, as_json: bool) -> list[Decision]:
    """The decisions of a file; ends the command, with every line that is wrong, where one is."""
    rows, wrong = linking.decisions_in(file)
    rows = [replace(row, destination=row.destination or destination) for row in rows]
    with output.progress("checking", len(rows)) as advance:
        for row in rows:
            if problem := decisions.problem(row):
                wrong.append(problem)
            advance()
    if not wrong and rows:
        return rows
    wrong = sorted(wrong, key=lambda text: int(text.split(":")[0].split()[1])) or ["it holds no decision"]
    if as_json:
        output.show_json("identity-link/1", {"rows": [], "checked": len(rows), "problems": wrong})
    for problem in wrong:
        output.say(problem)
    raise ConfigError(f"nothing is linked: {file} has {len(wrong)} lines to mend")


def _linked(decisions: Decisions, decision: Decision, was: str) -> dict[str, Any]:
    link = Link.APART if decision.person_id == linking.NEW else Link.FORCED if decision.force else Link.LINKED
    return {
        "destination": decisions.destination_of(decision),
        "feed": decision.feed,
        "source_key": decision.key,
        "person_id": "" if link is Link.APART else decision.person_id,
        "was": was,
        "link": link.value,
    }


@app.command("unlink")
def unlink_record(
    feed: FeedArgument,
    key: KeyArgument,
    destination: DestinationOption = "",
    reason: ReasonOption = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Forget which Practitioner a record was found to be about: its next change searches anew.

    \b
      hl7bridge identity unlink staff E1042 --reason "linked to the wrong person"

    What was written there stays, also the record's identifiers, by which it would be found again: `hl7bridge restore` takes
    that back; `identity link` names the right one.

    Ends with 1 when it was linked to nobody.
    """
    from hl7bridge.config import load

    settings, reason, who = load(config), why(reason), account()
    name = linking.destination_of(settings, feed, destination)
    with stored.opened(settings) as store:
        before = store.link_of(name, feed, key)
        was = before["person_id"] if before else ""
        said = bool(before and before["link"])
        if (was or said) and not store.link(name, feed, key, "", Link.FOUND, time.time(), who=who, reason=reason):
            raise ConfigError("a change of that record is under way", advice="Unlink it when that has ended.")
    if as_json:
        output.show_json(
            "identity-unlink/1", {"destination": name, "feed": feed, "source_key": key, "person_id": "", "was": was}
        )
    elif was:
        output.show(f"{feed} {key} is not linked to Practitioner/{was} at {name} any more")
    elif said:
        output.show(f"that {feed} {key} is a person of its own at {name} is not said any more")
    else:
        output.show(f"{feed} {key} is linked to nobody at {name}")
    raise typer.Exit(ExitCode.GOOD if was or said else ExitCode.FINDINGS)


# --- duplicates ------------------------------------------------------------------------------------------------------


@app.command("duplicates")
def list_duplicates(
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="Only this one.")] = "",
    scan: Annotated[bool, typer.Option("--scan", help="Read every Practitioner of the server.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Report Practitioners that share an identifier. Nothing is written, and none of them is picked.

    \b
      hl7bridge identity duplicates              those that changes were held for
      hl7bridge identity duplicates --scan       all that the server has

    Ends with 1 when there are any.
    """
    from hl7bridge.config import load

    settings = load(config)
    names = [named(settings, destination).name] if destination else list(settings.destinations)
    groups: list[dict[str, Any]] = []
    with stored.opened(settings) as store, Servers(settings) as servers:
        for name in names:
            people = {
                (row["id"], str(candidate.get("id"))): candidate
                for row in quarantined(store, destination=name, limit=_EVERY)
                for candidate in row["candidates"]
            }
            found: Iterable[JsonObject] = servers.everybody(name) if scan else people.values()
            groups += [{"destination": name, **group} for group in _sharing(found)]
    if as_json:
        output.show_json("identity-duplicates/1", {"duplicates": groups})
    else:
        for group in groups:
            output.show((f"{group['system']}|{group['value']}", "bold"), f"  at {group['destination']}")
            for person in group["people"]:
                show_candidate(person)
        output.say(f"{len(groups)} shared identifiers" if groups else "No two Practitioners share an identifier.")
    raise typer.Exit(ExitCode.FINDINGS if groups else ExitCode.GOOD)


def _sharing(people: Iterable[JsonObject]) -> list[dict[str, Any]]:
    """Groups of Practitioners with one identifier in common, by identifier; systems by their canonical names."""
    from hl7bridge.destinations.fhir.identity.carried import identifiers_of
    from hl7bridge.destinations.fhir.identity.resolve import summary

    by_identifier: dict[tuple[str, str], dict[str, JsonObject]] = {}
    for person in people:
        for identifier in identifiers_of(person):
            by_identifier.setdefault(identifier, {})[str(person.get("id"))] = summary(person)
    return [
        {"system": system, "value": value, "people": list(found.values())}
        for (system, value), found in sorted(by_identifier.items(), key=lambda item: item[0])
        if len(found) > 1
    ]


# --- the map of ids --------------------------------------------------------------------------------------------------


@app.command("export")
def export_ids(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write; there must be none of that name.")],
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="Of this one.")] = "",
    config: ConfigOption = Path(),
) -> None:
    """Write the map of a destination's ids into a file: feed, staff key, Practitioner id.

    \b
      hl7bridge identity export ids.json --destination ehr
    """
    from hl7bridge.config import load

    settings = load(config)
    chosen = named(settings, destination)
    with stored.opened(settings) as store:
        rows = [[row["feed"], row["source_key"], row["person_id"]] for row in store.id_map(chosen.name)]
    document = {"schema": ID_MAP, "destination": chosen.name, "base_url": chosen.base_url, "ids": rows}
    with file.open("x", encoding="utf-8") as written:
        written.write(json.dumps(document, ensure_ascii=False, indent=0) + "\n")
    output.show(f"{len(rows)} ids of {chosen.name} are written to {file}")


@app.command("import")
def import_ids(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `identity export` wrote.")],
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="Into this one.")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take in a map of ids, where nobody is known yet. A map of another destination is refused: ids differ everywhere.

    \b
      hl7bridge identity import ids.json --destination ehr --reason "moved to a new machine"

    Ends with 1 when some of them name another Practitioner than is known here: those stay as they are.
    """
    from hl7bridge.config import load

    settings, reason = load(config), why(reason)
    chosen = named(settings, destination)
    rows = _ids_in(file, chosen)
    with stored.opened(settings) as store:
        new, different = store.import_ids(chosen.name, rows, time.time(), who=account(), reason=reason)
    if as_json:
        output.show_json(
            "identity-import/1", {"destination": chosen.name, "read": len(rows), "new": new, "different": different}
        )
    else:
        output.show(f"{new} of {len(rows)} ids are new at {chosen.name}; {different} name somebody else here and stay")
    raise typer.Exit(ExitCode.FINDINGS if different else ExitCode.GOOD)


def _ids_in(file: Path, destination: Destination) -> list[tuple[str, str, str]]:
    """The rows of an exported map. Raises ConfigError for another file, or another destination's."""
    from hl7bridge.destinations.fhir.wire.replies import is_id

    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        is_map = document["schema"] == ID_MAP
        rows = [(str(feed), str(key), str(person_id)) for feed, key, person_id in document["ids"]]
    except (ValueError, KeyError, TypeError):
        is_map, rows, document = False, [], {}
    if not is_map or not all(is_id(person_id) for _, _, person_id in rows):
        raise ConfigError(f"{file} is no map of ids", advice="`hl7bridge identity export` writes one.")
    theirs = (document.get("destination"), document.get("base_url"))
    if theirs != (destination.name, destination.base_url):
        raise ConfigError(
            f"the ids of {file} are those of another destination ({theirs[0]} at {theirs[1]})",
            advice="Ids are each server's own: they cannot be used at another one.",
        )
    return rows
