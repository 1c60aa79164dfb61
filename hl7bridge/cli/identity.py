"""`hl7bridge identity`: whom records are about: what is quarantined, link, unlink, duplicates, the map of ids."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, account, why
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.cli.servers import Servers, named
from hl7bridge.cli.sides import both_sides, show_candidate, show_sides
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject, Link

if TYPE_CHECKING:
    from hl7bridge.config import Destination, Settings
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
        rows = _quarantined(store, destination=destination, limit=limit + 1)
        more, rows = len(rows) > limit, rows[:limit]
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
        row = _one(store, delivery_id)
        if fresh:
            servers.refresh(row)
    if as_json:
        output.show_json("identity-show/1", both_sides(row))
        return
    show_sides(row)
    where = f"{row['feed']} {row['source_key']}"
    output.say(f"It is one of them:   hl7bridge identity link {where} PRACTITIONER-ID --release --reason WHY")
    output.say("It is none of them:  have the identifiers mended where they are wrong, then")
    output.say(f"                     hl7bridge hold release {delivery_id} --reason WHY")


def _quarantined(store: Store, **given: Any) -> list[dict[str, Any]]:
    from hl7bridge.fhir.identity import QUARANTINE

    return store.quarantined(QUARANTINE, **given)


def _one(store: Store, delivery_id: int) -> dict[str, Any]:
    found = _quarantined(store, delivery_id=delivery_id)
    if not found:
        raise ConfigError(
            f"no quarantined delivery has the id {delivery_id}", advice="`hl7bridge identity list` shows them."
        )
    return found[0]


# --- link, unlink ----------------------------------------------------------------------------------------------------


@app.command("link")
def link_record(
    feed: FeedArgument,
    key: KeyArgument,
    person_id: Annotated[str, typer.Argument(metavar="PRACTITIONER-ID", help="The id at the FHIR server.")],
    destination: DestinationOption = "",
    reason: ReasonOption = "",
    also: Annotated[bool, typer.Option("--also", help="Although another record of the feed is linked to it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Although family name or birth date differ.")] = False,
    release: Annotated[bool, typer.Option("--release", help="Release what is quarantined of this record.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Say whom a record is about: its changes go to that Practitioner, whatever its identifiers say.

    \b
      hl7bridge identity link staff E1042 17 --reason "checked with HR"
      hl7bridge identity link staff E1042 17 --release --reason "checked with HR"

    The Practitioner is read and shown first. One with clearly another family name or birth date than the record is refused
    unless --force says so, and one that another record of the same feed is linked to unless --also does.
    """
    from hl7bridge.config import load

    settings, reason, who = load(config), why(reason), account()
    name = _destination(settings, feed, destination).name
    with stored.opened(settings) as store, Servers(settings) as servers:
        resource = servers.read(name, person_id)
        if not as_json:
            show_candidate(resource)
        _refuse_taken(store, name, feed, key, person_id, also)
        held = [row for row in _quarantined(store, destination=name, limit=_EVERY)
                if (row["feed"], row["source_key"]) == (feed, key)]  # fmt: skip
        for row in held if not force else ():
            _refuse_different(row["change"], resource)
        before = store.link_of(name, feed, key)
        link = Link.FORCED if force else Link.LINKED
        if not store.link(name, feed, key, person_id, link, time.time(), who=who, reason=reason):
            raise ConfigError("a change of that record is under way", advice="Link it when that has ended.")
        released = _released(store, settings, held, who, reason) if release else []
    was = before["person_id"] if before else ""
    if as_json:
        told = {"destination": name, "feed": feed, "source_key": key, "person_id": person_id, "was": was}
        output.show_json("identity-link/1", {**told, "link": link.value, "released": released})
        return
    output.show(f"{feed} {key} is linked to Practitioner/{person_id} at {name}" + (f" (was {was})" if was else ""))
    for number in released:
        output.show(f"delivery {number} is released")
    if held and not release:
        output.say(f"Held of it: hl7bridge hold release {' '.join(str(row['id']) for row in held)} --reason WHY")


def _refuse_taken(store: Store, destination: str, feed: str, key: str, person_id: str, also: bool) -> None:
    """Two records of one feed are two people, until a person says otherwise."""
    others = [row["source_key"] for row in store.linked_to(destination, person_id)
              if row["feed"] == feed and row["source_key"] != key]  # fmt: skip
    if others and not also:
        raise ConfigError(
            f"Practitioner/{person_id} stands for {', '.join(others[:5])} of the same feed",
            advice="If both records are one person, write --also.",
        )


def _refuse_different(change: JsonObject, resource: JsonObject) -> None:
    from hl7bridge.fhir.identity import differences_of_person
    from hl7bridge.model import StaffChange, write_json

    differing = differences_of_person(StaffChange.from_json(write_json(change)), resource)
    if differing:
        raise ConfigError(
            f"{' and '.join(differing)} of the record and of that Practitioner differ",
            advice="If it is the same person all the same, write --force.",
        )


def _released(store: Store, settings: Settings, held: list[dict[str, Any]], who: str, reason: str) -> list[int]:
    from hl7bridge.cli.hold import Translations
    from hl7bridge.store.store import Released

    again, done = Translations(store, settings), []
    for row in held:
        anew = again.of(row)
        if not anew.problem:
            # It says whom the record is about; what is asked of a person about the change itself, is asked still.
            released = store.release(
                row["id"], time.time(), who=who, reason=reason, change=anew.change, lane=anew.lane, approves=False
            )
            done += [row["id"]] if released is Released.QUEUED else []
    return done


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
    name = _destination(settings, feed, destination).name
    with stored.opened(settings) as store:
        before = store.link_of(name, feed, key)
        was = before["person_id"] if before else ""
        if was and not store.link(name, feed, key, "", Link.FOUND, time.time(), who=who, reason=reason):
            raise ConfigError("a change of that record is under way", advice="Unlink it when that has ended.")
    if as_json:
        output.show_json(
            "identity-unlink/1", {"destination": name, "feed": feed, "source_key": key, "person_id": "", "was": was}
        )
    elif was:
        output.show(f"{feed} {key} is not linked to Practitioner/{was} at {name} any more")
    else:
        output.show(f"{feed} {key} is linked to nobody at {name}")
    raise typer.Exit(ExitCode.GOOD if was else ExitCode.FINDINGS)


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
                for row in _quarantined(store, destination=name, limit=_EVERY)
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
    from hl7bridge.fhir.carried import identifiers_of
    from hl7bridge.fhir.identity import summary

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
    from hl7bridge.fhir.replies import is_id

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


# --- destinations and their servers ----------------------------------------------------------------------------------


def _destination(settings: Settings, feed: str, name: str) -> Destination:
    """The destination that a feed goes to; with "", the only one. Raises ConfigError."""
    goes_to = stored.feed_named(settings, feed).destinations
    if not name and len(goes_to) == 1:
        return settings.destinations[goes_to[0]]
    if name not in goes_to:
        problem = f"feed {feed} does not go to {name}" if name else f"feed {feed} goes to several destinations"
        raise ConfigError(problem, key="--destination", advice=f"Choose one of {', '.join(goes_to)}.")
    return settings.destinations[name]
