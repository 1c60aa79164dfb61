"""`hl7bridge map`: why each field of a message ends up where it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.mapping import map_dictionary, map_lint, map_preview, map_trios, unmapped
from hl7bridge.cli.messages.files import messages_of
from hl7bridge.cli.messages.view import remarks
from hl7bridge.cli.operate import msg
from hl7bridge.cli.operate.replay import plans
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import MessageError

if TYPE_CHECKING:
    from hl7bridge.mapping.explain import ExplainedValue, Explanation
    from hl7bridge.mapping.feed_rules import FeedRules

    Withheld = Callable[[Explanation], dict[str, list[ExplainedValue]]]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, add_completion=False, help="See how messages are mapped to FHIR."
)

# Where there is no configuration: any feed's rules show how fields are mapped, only its own the systems that it names.
_NO_KEY_SYSTEM = "urn:uuid:00000000-0000-0000-0000-000000000000"


@app.callback()
def map_group() -> None:
    """See how messages are mapped to FHIR."""


@app.command("explain")
def explain_messages(
    what: Annotated[str, typer.Argument(metavar="FILE|DIR|ID", help="Messages in files, or the id of a stored one.")],
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="By the rules of this feed.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Also the fields that only frame the message, and those left out on purpose.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Also what each destination would change: reads from it, writes nothing.")
    ] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show where each element comes from: element <- rule <- field <- value, and what was not used.

    \b
      hl7bridge map explain new_physician.hl7
      hl7bridge map explain new_physician.hl7 --feed staff --all
      hl7bridge map explain 42 --plan
      hl7bridge map explain 42 --json

    Every field that holds something is accounted for: used, left out on purpose, unused (with the reason), or of a segment
    that the mapping does not know. Codes without an entry in their table are listed with how often they came, and what a
    destination does not get (its [elements]). Remarks say what the standard, by the message's version, does not foresee;
    nothing is decided by them. Works without a configuration; then the feed's own systems, codes and time zone are not
    known.

    Ends with 1 when a record could not be mapped; with --plan as `replay --dry-run` does.
    """
    failed, documents = False, []
    for name, charset, rules, withheld, body in _chosen(what, feed, config):
        found = _explained(body, charset, rules)
        failed = failed or isinstance(found, MessageError) or any(r.failed for r in found.translation.records)
        if as_json:
            documents.append({"message": name, **_as_data(found, withheld)})
        else:
            output.show((name, "bold"))
            _show(found, withheld, everything)
    planned, code = plans(what, feed, config, quiet=as_json) if plan else ([], ExitCode.GOOD)
    if as_json:
        output.show_json("map-explain/1", {"messages": documents, **({"plans": planned} if plan else {})})
    code = max(code, ExitCode.FINDINGS if failed else ExitCode.GOOD)
    if code:
        raise typer.Exit(code)


def _chosen(
    what: str, feed_name: str, directory: Path
) -> Iterator[tuple[str, tuple[str, ...], FeedRules, Withheld, bytes]]:
    """(name, character sets, the feed's rules, what its destinations do not get, bytes) of each message."""
    from hl7bridge.assemble.mapping import feed_rules
    from hl7bridge.config import SERVICE_FILE, load
    from hl7bridge.desk.mapping.withheld import withheld
    from hl7bridge.mapping.feed_rules import FeedRules

    message_id = int(what) if what.isdecimal() and not Path(what).exists() else 0
    if not message_id and not feed_name and not (directory / SERVICE_FILE).exists():
        output.say("No configuration here: read without a feed's own systems, codes and time zone.")
        for path, body in messages_of([Path(what)]):
            yield str(path), ("utf-8", "cp1252"), FeedRules(_NO_KEY_SYSTEM), lambda found: {}, body
        return
    settings = load(directory)
    if message_id:
        with stored.opened(settings) as store:
            name = stored.message_of(store, message_id)["feed"]
            body = stored.body_of(store, message_id)
        feed = stored.feed_named(settings, feed_name or name)
        yield f"message {message_id}", feed.hl7.charset, feed_rules(feed), partial(withheld, settings, feed), body
        return
    feed = stored.feed_named(settings, feed_name)
    rules = feed_rules(feed)
    for path, body in messages_of([Path(what)]):
        yield str(path), feed.hl7.charset, rules, partial(withheld, settings, feed), body


def _explained(body: bytes, charset: tuple[str, ...], rules: FeedRules) -> Explanation | MessageError:
    from hl7bridge.hl7.message import Message
    from hl7bridge.mapping.explain import explain

    try:
        return explain(Message(body, charset), rules, datetime.now(UTC))
    except MessageError as error:
        return error


def _as_data(found: Explanation | MessageError, withheld: Withheld) -> dict[str, Any]:
    if isinstance(found, MessageError):
        return {"error": str(found)}
    return {
        "error": "",
        "mapping_version": found.translation.mapping_version,
        "remarks": [{"place": place, "text": text} for place, text in remarks(found.message)],
        "records": [
            {
                "position": record.position,
                "action": record.change.action.value if record.change else "",
                "source_key": record.change.source_key if record.change else record.echo.key,
                "failed": record.failed,
            }
            for record in found.translation.records
        ],
        "values": [asdict(row) for row in found.rows],
        "left": [asdict(row) for row in found.left],
        "withheld": {name: [asdict(row) for row in rows] for name, rows in withheld(found).items()},
        "unknown_segments": [asdict(row) for row in found.segments],
        "unmapped_codes": [asdict(row) for row in found.unmapped],
        "findings": [finding.as_data() for finding in found.findings],
        "fields": {
            "valued": found.valued,
            "used": found.used,
            "dropped": found.dropped,
            "unused": found.unused,
            "unknown": found.unknown,
        },
    }


def _show(found: Explanation | MessageError, withheld: Withheld, everything: bool) -> None:
    from hl7bridge.mapping.explain import ENVELOPE

    if isinstance(found, MessageError):
        output.show("  ", (str(found), output.BAD))
        return
    for record in found.translation.records:
        change = record.change
        what = change.action.value if change else "not taken" if record.failed else "nothing to do"
        output.show(
            (f"record {record.position}", "bold"), f"  {what}  {change.source_key if change else record.echo.key}"
        )
        rows = [row for row in found.rows if row.position == record.position and row.element != ENVELOPE]
        if rows:
            output.show_table(
                ("element", "value", "<- rule", "<- field", "<- as sent"),
                [(row.element, stored.value_text(row.value), row.rule, row.field, row.source) for row in rows],
            )
    if everything:
        _show_list("frames the message", [(r.field, r.source) for r in found.rows if r.element == ENVELOPE])
        _show_list("left out on purpose", [(r.field, r.source, r.reason) for r in found.left if r.dropped])
    for name, kept_back in withheld(found).items():
        title = f"not sent to {name} ([elements] of conf/destinations/{name}.toml)"
        _show_list(title, [(row.field, row.element, stored.value_text(row.value)) for row in kept_back])
    _show_list("unused", [(_place(r.field, r.occurrence), r.source, r.reason) for r in found.left if not r.dropped])
    _show_list("unknown segments", [(s.name, f"{s.fields} field(s), kept in the stored bytes") for s in found.segments])
    _show_list(
        "codes without an entry", [(u.field, f"table {u.table}", u.code, f"{u.count} x") for u in found.unmapped]
    )
    if found.findings:
        output.show("findings")
        msg.show_findings([finding.as_data() for finding in found.findings], "    ")
    _show_list("remarks", remarks(found.message))
    segments = len(found.message.segments)
    output.show(
        f"{segments} segments, {len(found.segments)} unknown; {found.valued} fields hold something = {found.used} used"
        f" + {found.dropped} left out on purpose + {found.unused} unused + {found.unknown} of unknown segments;"
        f" mapping {found.translation.mapping_version}"
    )


def _place(field: str, occurrence: int) -> str:
    return field.replace("-", f"[{occurrence}]-", 1) if occurrence > 1 else field


def _show_list(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    if rows:
        output.show(title)
        for row in rows:
            output.show(f"    {row[0]:<14}", "  ".join(row[1:]))


app.command("lint")(map_lint.lint)
app.command("preview")(map_preview.preview)
app.command("test")(map_trios.run_trios)
app.command("dictionary")(map_dictionary.dictionary)
app.command("unmapped")(unmapped.unmapped)
