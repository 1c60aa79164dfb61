"""`hl7bridge map lint`: mistakes in a site's maps and code tables, each with file and line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.messages.names import VERSIONS, names
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import Feed, Settings
    from hl7bridge.config.site_files import Site

READ_BY_RULES = ("0175", "0178", "0180", "0202", "0202-use", "0190-type", "0337", "0404")
"""Tables that rules and the envelope look in, whatever the rows name."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, and where: `conf/maps/kings.toml:12`, the dotted key."""

    place: str
    key: str
    problem: str
    advice: str = ""


def lint(
    what: Annotated[
        str, typer.Argument(metavar="[MAP]", help="The name of a map, or its file; left out: all.")
    ] = "all",
    rules: Annotated[bool, typer.Option("--rules", help="Only list the rules that a field may name.")] = False,
    conditions: Annotated[bool, typer.Option("--conditions", help="Only list the conditions for `when`.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Find mistakes in maps and code tables, with file and line.

    \b
      hl7bridge map lint                  all of conf/maps and conf/tables
      hl7bridge map lint kings
      hl7bridge map lint --conditions     what may stand in `when`

    Unknown keys, rules, elements and conditions; fields that no version has; rows that can never be reached, or read what
    another row reads; shifts that overlap; tables that nothing uses; codes that stand for what is no code.

    Ends with 1 when there is a mistake.
    """
    if rules or conditions:
        _list(_rules() if rules else _conditions(), "map-rules/1" if rules else "map-conditions/1", as_json)
        return
    name = "" if what == "all" else Path(what).stem
    found = list(mistakes(config, name))
    if as_json:
        output.show_json("map-lint/1", {"mistakes": [asdict(mistake) for mistake in found]})
    else:
        for mistake in found:
            where = ": ".join(part for part in (mistake.place, mistake.key) if part)
            output.show((where, "bold"), f": {mistake.problem}. {mistake.advice}".rstrip())
        output.say(f"{len(found)} mistake(s)" if found else "no mistakes")
    if found:
        raise typer.Exit(ExitCode.FINDINGS)


def _list(rows: list[tuple[str, str]], schema: str, as_json: bool) -> None:
    if as_json:
        output.show_json(schema, {"names": [{"name": name, "meaning": meaning} for name, meaning in rows]})
    else:
        output.show_table(("name", "what it does"), rows)


def _rules() -> list[tuple[str, str]]:
    from hl7bridge.mapping.rules.draft import FIELD_RULES, SEGMENT_RULES
    from hl7bridge.mapping.rules.plans import targets

    known = {**FIELD_RULES, **SEGMENT_RULES}
    return [(name, _in_short(known[name].__doc__ or "", targets().get(name, ()))) for name in sorted(known)]


def _in_short(text: str, becomes: tuple[str, ...]) -> str:
    line = " ".join(text.split())
    return f"{line} (to: {', '.join(becomes)})" if becomes else line


def _conditions() -> list[tuple[str, str]]:
    from hl7bridge.mapping.rules import plans  # the conditions register themselves with the rules
    from hl7bridge.mapping.rules.conditions import documented

    assert plans.RULE_MODULES
    return documented()


def mistakes(directory: Path, name: str = "") -> Iterator[Mistake]:
    """Every mistake in the maps of a folder that holds conf/, or in one of them. Raises ConfigError for an unknown map."""
    from hl7bridge.config import examine

    if name and not (directory / "conf" / "maps" / f"{name}.toml").exists():
        raise ConfigError(f"there is no conf/maps/{name}.toml", advice="Name a file of conf/maps, without its ending.")
    settings, problems = examine(directory)
    if settings is None:
        mine = [p for p in problems if not name or p.file.startswith((f"conf/maps/{name}.toml", "conf/tables/"))]
        maps = [p for p in mine if p.file.startswith(("conf/maps/", "conf/tables/"))]
        if not maps and problems:
            raise problems[0]
        yield from (Mistake(p.file, p.key, p.problem, p.advice) for p in maps)
        return
    for one, site in settings.maps.items():
        if not name or one == name:
            yield from _of_map(site, [feed for feed in settings.feeds.values() if feed.map == one])
    if not name:
        yield from _unused(directory, settings)


def _of_map(site: Site, feeds: list[Feed]) -> Iterator[Mistake]:
    yield from _key(site)
    yield from _fields(site)
    yield from _tables(site)
    wrong = _compiled(site, feeds)
    if wrong is not None:
        yield wrong
    else:
        yield from _codes(site)


def _key(site: Site) -> Iterator[Mistake]:
    """Places of the staff key that some messages do not have: a PMU has no MFE, and a record that ends somebody often
    nothing but its MFE."""
    places = {place.partition("-")[0] for place in site.map.key}
    if places == {"MFE"}:
        problem, advice = "a PMU has no MFE: each is refused, for it has no key", 'Add "STF-1" behind it.'
        yield Mistake(site.where("key"), "key", problem, advice)
    elif places and "MFE" not in places:
        problem = "a record of an MFN without that segment, as many that end somebody, is refused, for it has no key"
        yield Mistake(site.where("key"), "key", problem, 'Add "MFE-4" behind it.')


def _compiled(site: Site, feeds: list[Feed]) -> Mistake | None:
    """What the mapping itself refuses: unknown rules and conditions, targets that can't be sent, overlapping shifts."""
    from hl7bridge.assemble.mapping import rules_of

    try:
        rules_of(site, feeds[0] if feeds else None)
    except ConfigError as error:
        return Mistake(error.file or site.where(error.key), error.key, error.problem, error.advice)
    return None


def _fields(site: Site) -> Iterator[Mistake]:
    from hl7bridge.mapping.rules.plans import targets
    from hl7bridge.mapping.rules.tables import code_tables, field_table, segment_table

    elements = {element for found in targets().values() for element in found}
    seen: Counter[tuple[str, str, str]] = Counter()
    for place, field in site.map.fields.items():
        row, key = field.row(), f"fields.{place}"

        def mistake(problem: str, advice: str = "", key: str = key) -> Mistake:
            return Mistake(site.where(key), key, problem, advice)

        segment, _, number = place.partition("-")
        if not segment.startswith("Z") and not any(0 < int(number) <= names(v).fields(segment) for v in VERSIONS):
            most = max(names(version).fields(segment) for version in VERSIONS)
            advice = f"{segment} has {most} fields." if most else "Segments of a site's own begin with Z."
            yield mistake("no version of HL7 has this field", advice)
        if segment in segment_table() and "drop" not in row:
            yield mistake("this segment is not read field by field: the row is never reached", "Take the row out.")
        if "drop" in row and len(row) > 1:
            yield mistake("drops the field and says how to read it", "Write one or the other.")
        if not row or ("drop" not in row and "rule" not in row):
            yield mistake("has neither a rule nor a reason to drop it", "`hl7bridge map lint --rules` lists the rules.")
        to, rule = row.get("to", ""), row.get("rule", "")
        if to and to not in elements:
            close = get_close_matches(to, elements, 1)
            yield mistake(f"unknown element {to!r}", f"Did you mean {close[0]!r}?" if close else "")
        elif to and rule in targets() and to not in targets()[rule]:
            yield mistake(f"the rule {rule} does not give {to}", f"It gives {', '.join(targets()[rule])}.")
        if row == field_table().get(place):
            yield mistake("says what the packaged row says", "Take it out.")
        table = row.get("table", "")
        if table and table not in code_tables() and table not in site.tables:
            yield mistake(f"there is no table {table}", "Write it into [tables], or correct the number.")
        authority = row.get("authority", "")
        if authority and authority not in site.map.authorities:
            yield mistake(f"{authority} is no authority of this map", "Write its system into [authorities].")
        if rule and rule in _ONCE:
            seen[segment, rule, "" if rule != "site_identifier" else authority] += 1
            if seen[segment, rule, ""] > 1:
                yield mistake(f"another row reads {segment} by {rule}: the later field stands", "Keep one of them.")
    yield from _unreachable(site)


_ONCE = frozenset({"gender", "birth_date", "active_flag", "job_title", "death_indicator", "real_person"})


def _unreachable(site: Site) -> Iterator[Mistake]:
    """Rows of fields that a shift takes away, and of whole segments that a segment rule reads by other numbers."""
    from hl7bridge.mapping.site import Shift, SiteMap

    shifts = {segment: tuple(Shift(s.start, s.by) for s in found) for segment, found in site.map.shift.items()}
    try:
        mapped = SiteMap(shifts=shifts)
    except ConfigError:
        return  # told when the map is compiled
    for segment, found in shifts.items():
        for shift in found:
            if not shift.by:
                key = f"shift.{segment}"
                yield Mistake(site.where(key), key, "shifts by nothing", "Take it out.")
    for place in site.map.fields:
        segment, _, number = place.partition("-")
        if segment in shifts and not mapped.sent_at(segment, int(number)):
            key = f"fields.{place}"
            problem = "by [shift] this sender has no such field: the row is never reached"
            yield Mistake(site.where(key), key, problem, "Name the field as the standard numbers it.")


def _tables(site: Site) -> Iterator[Mistake]:
    from hl7bridge.mapping.rules.tables import field_table

    used = {row.get("table", "") for row in field_table().values()} | set(READ_BY_RULES)
    used |= {field.table for field in site.map.fields.values()}
    for number in site.map.tables:
        if number not in used:
            key = f"tables.{number}"
            yield Mistake(
                site.where(key), key, "no field uses this table", "Name it in a row of [fields], or take it out."
            )
    types = site.map.practitioners.staff_types
    for code, count in Counter(types).items():
        if count > 1:
            key = "practitioners.staff_types"
            yield Mistake(site.where(key), key, f"{code!r} stands there twice", "Take one out.")


def _codes(site: Site) -> Iterator[Mistake]:
    """Codes that stand for a code which the standard's table does not have, and codes that stand for themselves."""
    from hl7bridge.mapping.rules.tables import TARGETS, code_tables

    for number, codes in site.tables.items():
        base = code_tables().get(number, {})
        for code, target in codes.items():
            key = f"tables.{number}.{code}"
            if not target:
                if "" not in TARGETS.get(number, frozenset({""})):
                    yield Mistake(site.where(key), key, "stands for nothing", "Write a code, or take the line out.")
            elif target == code and code in base:
                yield Mistake(site.where(key), key, "stands for itself, as without this line", "Take it out.")
            elif base and "|" not in target and target not in base and target not in TARGETS.get(number, frozenset()):
                close = get_close_matches(target, base, 1)
                if number in TARGETS or close:
                    hint = f"Did you mean {close[0]!r}?" if close else ""
                    yield Mistake(site.where(key), key, f"{target!r} is no code of table {number}", hint)


def _unused(directory: Path, settings: Settings) -> Iterator[Mistake]:
    """Files of conf/tables that no map names."""
    named = {file for site in settings.maps.values() for file in site.files}
    for path in sorted((directory / "conf" / "tables").glob("*.csv")):
        if path.name not in named:
            place = f"conf/tables/{path.name}"
            yield Mistake(
                place, "", "no map names this table", 'Write "NUMBER" = "' + path.name + '" into [tables] of a map.'
            )
