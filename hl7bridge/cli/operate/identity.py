"""`hl7bridge identity`: whom records are about: what is quarantined, link, unlink, duplicates, the map of ids."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.assemble.choosing import destination_named
from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, actor
from hl7bridge.cli.operate.sides import show_candidate, show_sides
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import DestinationSettings, Settings
    from hl7bridge.desk.identity.candidates import Candidates
    from hl7bridge.desk.identity.linking import LinksDecided
    from hl7bridge.desk.identity.quarantine import Sharing

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Say whom records are about: list what is not clear, link, unlink, duplicates.",
)

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
    """List records whose person is not clear: both sides, the record and the people who may be meant.

    \b
      hl7bridge identity list
      hl7bridge identity list --fresh --json
    """
    from hl7bridge.config import load
    from hl7bridge.desk.identity import quarantine
    from hl7bridge.desk.identity.candidates import Candidates

    settings = load(config)
    with stored.opened(settings) as store, Candidates(settings) as candidates:
        found = quarantine.find(
            store, candidates, destination=destination, limit=limit, fresh=fresh, progress=output.progress
        )
    if as_json:
        output.show_json("identity-list/1", {"quarantined": [row.data() for row in found.rows]})
        return
    for row in found.rows:
        show_sides(row, candidates)
    if not found.rows:
        output.say("Nothing is quarantined.")
    if found.next:
        output.say(f"The oldest {limit} only; --limit or --destination show others.")


@app.command("show")
def show_quarantined(
    delivery_id: Annotated[int, typer.Argument(metavar="ID", help="The id that `identity list` shows.")],
    fresh: FreshOption = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show one such record: beside it the people who may be meant, and what to do.

    \b
      hl7bridge identity show 42
      hl7bridge identity show 42 --fresh
    """
    from hl7bridge.config import load
    from hl7bridge.desk.identity import quarantine
    from hl7bridge.desk.identity.candidates import Candidates

    settings = load(config)
    with stored.opened(settings) as store, Candidates(settings) as candidates:
        one = quarantine.show(store, candidates, delivery_id, fresh=fresh)
    if as_json:
        output.show_json("identity-show/1", one.data())
        return
    show_sides(one, candidates)
    where = f"{one.row.feed} {one.row.source_key}"
    output.say(f"It is one of them:   hl7bridge identity link {where} PERSON-ID --release --reason WHY")
    output.say(f"It is none of them:  hl7bridge identity link {where} new --release --reason WHY")
    output.say("Identifiers are wrong: have them mended, then")
    output.say(f"                     hl7bridge hold release {delivery_id} --reason WHY")


# --- link, unlink ----------------------------------------------------------------------------------------------------


@app.command("link")
def link_record(
    feed: OptionalFeed = "",
    key: OptionalKey = "",
    person_id: Annotated[
        str,
        typer.Argument(metavar="PERSON-ID", show_default=False, help="Their id at the destination, or the word new."),
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
    """Say whom a record is about: its changes go to that person there, whatever its identifiers say.

    \b
      hl7bridge identity link staff E1042 17 --reason "checked with HR"
      hl7bridge identity link staff E1042 17 --release --reason "checked with HR"
      hl7bridge identity link staff E1042 new --release --reason "two people share a number"
      hl7bridge identity link --from decided.csv --release --reason "checked with HR"

    The person is read and shown first. One with clearly another family name or birth date than the record is refused
    unless --force says so, and one that another record of the same feed is linked to unless --also does. "new" says that the
    record is of a person of its own, whoever else carries its numbers; only its staff key finds that person from then on.
    With --release, other quarantined records that name the same people are planned again, too.

    A file has a line for each record: feed,key,practitioner, and where needed destination, also and force (yes). Nothing is
    linked while a line of it is wrong.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.identity import linking
    from hl7bridge.desk.identity.candidates import Candidates

    if (file is None) != bool(feed and key and person_id) or (file is not None and feed):
        advice = "Write FEED KEY PERSON-ID, or --from FILE.csv."
        raise ConfigError("say which record is about whom", advice=advice)
    settings, who = load(config), actor()
    with stored.opened(settings) as store, Candidates(settings) as candidates:
        if file is None:
            decision = linking.Decision(feed, key, person_id, destination, also, force)
            decided = linking.link(store, settings, candidates, decision, who, reason, release=release, dry_run=dry_run)
        else:
            decided = linking.link_by_file(
                store, settings, candidates, file.read_bytes(), str(file), who, reason, destination=destination,
                release=release, dry_run=dry_run, progress=output.progress,
            )  # fmt: skip
    if as_json:
        output.show_json("identity-link/1", _links_as_data(decided, dry_run, many=file is not None))
    else:
        _show_links(decided, candidates, dry_run, release)
    if decided.wrong:
        for problem in decided.wrong:
            output.say(problem)
        raise ConfigError(f"nothing is linked: {file} has {len(decided.wrong)} lines to mend")
    if decided.left:
        raise typer.Exit(ExitCode.FINDINGS)


def _links_as_data(decided: LinksDecided, dry_run: bool, *, many: bool) -> dict[str, Any]:
    if decided.wrong:
        return {"rows": [], "checked": decided.checked, "problems": list(decided.wrong)}
    rows = [asdict(made) for made in decided.made]
    single = rows[0] if not many and rows else {"rows": rows, "checked": decided.checked}
    released, again = list(decided.released), list(decided.planned_again)
    told = {"dry_run": dry_run, "released": released, "planned_again": again, "problems": list(decided.left)}
    return {**single, **told}


def _show_links(decided: LinksDecided, candidates: Candidates, dry_run: bool, release: bool) -> None:
    if decided.candidate is not None:
        show_candidate(decided.candidate)
    for made in decided.made:
        whom = candidates.shown(made.destination, made.person_id) if made.person_id else "nobody who was found"
        was = f" (was {made.was})" if made.was else ""
        output.show(f"{made.feed} {made.source_key} is linked to {whom} at {made.destination}{was}")
    for problem in decided.left:
        output.say(problem)
    if dry_run and not decided.wrong:
        output.show(f"{decided.checked} can be linked; nothing was changed")
    for number in decided.released:
        output.show(f"delivery {number} is released")
    for number in decided.planned_again:
        output.show(f"delivery {number} names the same {decided.person} and is planned again")
    if decided.held and not release:
        output.say(
            f"Held deliveries of this record: hl7bridge hold release {' '.join(map(str, decided.held))} --reason WHY"
        )


@app.command("unlink")
def unlink_record(
    feed: FeedArgument,
    key: KeyArgument,
    destination: DestinationOption = "",
    reason: ReasonOption = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Forget whom a record was found to be about: its next change searches anew.

    \b
      hl7bridge identity unlink staff E1042 --reason "linked to the wrong person"

    What was written there stays, also the record's identifiers, by which it would be found again: `hl7bridge restore` takes
    that back; `identity link` names the right one.

    Ends with 1 when it was linked to nobody.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.identity import linking
    from hl7bridge.desk.identity.candidates import Candidates

    settings = load(config)
    with stored.opened(settings) as store:
        done = linking.unlink(store, settings, feed, key, actor(), reason, destination=destination)
    name, was = done.destination, done.was
    if as_json:
        output.show_json(
            "identity-unlink/1", {"destination": name, "feed": feed, "source_key": key, "person_id": "", "was": was}
        )
    elif was:
        shown = Candidates(settings).shown(name, was)
        output.show(f"{feed} {key} is not linked to {shown} at {name} any more")
    elif done.apart:
        output.show(f"{feed} {key} is no longer marked as a person of its own at {name}")
    else:
        output.show(f"{feed} {key} is linked to nobody at {name}")
    raise typer.Exit(ExitCode.GOOD if done.changed else ExitCode.FINDINGS)


# --- duplicates ------------------------------------------------------------------------------------------------------


@app.command("duplicates")
def list_duplicates(
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="Only this one.")] = "",
    scan: Annotated[bool, typer.Option("--scan", help="Read everybody at the destination.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Report people at a destination who share an identifier: nothing is written, and none of them is picked.

    \b
      hl7bridge identity duplicates              those that changes were held for
      hl7bridge identity duplicates --scan       all that the server has

    Ends with 1 when there are any.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.identity import quarantine
    from hl7bridge.desk.identity.candidates import Candidates

    settings = load(config)
    names = [_named(settings, destination).name] if destination else list(settings.destinations)
    groups: list[Sharing] = []
    with stored.opened(settings) as store, Candidates(settings) as candidates:
        for name in names:
            with output.counting("reading people") as count:
                if scan:
                    groups += quarantine.sharing(name, candidates.everybody(name, count))
                else:
                    groups += quarantine.duplicates(store, candidates, name)
    if as_json:
        output.show_json("identity-duplicates/1", {"duplicates": [group.data() for group in groups]})
    else:
        for group in groups:
            output.show((f"{group.system}|{group.value}", "bold"), f"  at {group.destination}")
            for person in group.people:
                show_candidate(person)
        output.say(f"{len(groups)} shared identifiers" if groups else "No two people share an identifier.")
    raise typer.Exit(ExitCode.FINDINGS if groups else ExitCode.GOOD)


# --- the map of ids --------------------------------------------------------------------------------------------------


@app.command("export")
def export_ids(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist.")],
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="Of this one.")] = "",
    config: ConfigOption = Path(),
) -> None:
    """Write the map of a destination's ids into a file: feed, staff key, the person's id there.

    \b
      hl7bridge identity export ids.json --destination ehr
    """
    from hl7bridge.config import load
    from hl7bridge.desk.identity import id_map

    settings = load(config)
    chosen = _named(settings, destination)
    with stored.opened(settings) as store:
        document = id_map.id_map(store, chosen)
    with file.open("x", encoding="utf-8") as written:
        written.write(json.dumps(document, ensure_ascii=False, indent=0) + "\n")
    output.show(f"{len(document['ids'])} ids of {chosen.name} are written to {file}")


@app.command("import")
def import_ids(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `identity export` wrote.")],
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="Into this one.")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Import a map of ids, where nobody is known yet: one of another destination is refused, since ids differ.

    \b
      hl7bridge identity import ids.json --destination ehr --reason "moved to a new machine"

    Ends with 1 when some of them name somebody else than is known here: those stay as they are.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.identity import id_map

    settings = load(config)
    chosen = _named(settings, destination)
    with stored.opened(settings) as store:
        done = id_map.import_ids(store, chosen, file.read_bytes(), str(file), actor(), reason)
    if as_json:
        output.show_json("identity-import/1", {"destination": chosen.name, **asdict(done)})
    else:
        output.show(
            f"{done.new} of {done.read} ids are new at {chosen.name}; {done.different} name somebody else here and stay"
        )
    raise typer.Exit(ExitCode.FINDINGS if done.different else ExitCode.GOOD)


def _named(settings: Settings, name: str) -> DestinationSettings:
    return destination_named(settings, name, "--destination")
