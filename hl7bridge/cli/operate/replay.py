"""`hl7bridge replay`: a file through the listener again, or a stored message translated and planned again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import actor
from hl7bridge.cli.messages.files import Findings, files_of, messages_of
from hl7bridge.cli.messages.mllp_client import address_of
from hl7bridge.cli.messages.resuming import Progress
from hl7bridge.cli.messages.send import (
    RateOption,
    ResultsOption,
    Sending,
    TimeoutOption,
    UntilNakOption,
    file_data,
    send_all,
    show_files,
)
from hl7bridge.cli.messages.sender_tls import CaOption, CertOption, KeyOption, SenderTls, TlsOption
from hl7bridge.cli.operate import msg
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.desk.messages import open_deliveries
from hl7bridge.errors import ConfigError
from hl7bridge.model import ENDED_WELL, Result

if TYPE_CHECKING:
    from hl7bridge.config import Feed, Settings
    from hl7bridge.desk.replay import Planner

AHEAD = 31
"""Messages of a file that are sent before the answer to the one before them: the listener stores such a group at once."""

_OUT_OF_REACH = frozenset({Result.RETRY, Result.UNKNOWN, Result.PAUSED})


def replay(
    what: Annotated[str, typer.Argument(metavar="FILE|DIR|ID", help="Messages in files, or the id of a stored one.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing: translate, read from the server, show what would change.")
    ] = False,
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="The feed, where there are several.")] = "",
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="Instead of the feed's listener.")] = "",
    force: Annotated[bool, typer.Option("--force", help="ID: even if a later message was applied since.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="ID: seconds to wait for the deliveries.")
    ] = 10,
    rate: RateOption = 0,
    timeout: TimeoutOption = 30,
    until_nak: UntilNakOption = False,
    results: ResultsOption = None,
    tls: TlsOption = False,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="FILE: from its beginning, even if an earlier run stopped on the way.")
    ] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Send or deliver messages again: files through the feed's listener, a stored one with the mapping of today.

    \b
      hl7bridge replay 42 --dry-run           what would message 42 change today? (reads only)
      hl7bridge replay 42                     translate it again and deliver it
      hl7bridge replay nightly.hl7            through the feed's listener, as the engine would send it
      hl7bridge replay nightly.hl7 --dry-run  what would these change?

    A file is sent as it is, whatever its size; the duplicate rule applies. Up to 32 messages are under way at a time, in
    their order; one, with --rate or --until-nak. Where a run was interrupted, or got no answer,
    the same command goes on behind the last message that was answered. A stored message (ID) is processed once more, and
    linked to the first time; the duplicate rule does not apply. Where a later message was applied since, nothing is sent
    unless --force says so. `hl7bridge run` delivers it.

    Ends with 1 when a record could not be mapped or needs a person, or a file is not whole (another count in BTS or FTS, no
    trailer), with 3 when a server or the listener is out of reach,
    with 4 when deliveries are still queued at the end of the wait.
    """
    from hl7bridge.config import load

    settings = load(config)
    message_id = int(what) if what.isdecimal() and not Path(what).exists() else 0
    if dry_run:
        code = _dry_run(settings, message_id, what, feed, as_json)
    elif message_id:
        code = _stored_again(settings, message_id, force, wait, as_json)
    else:
        secured = SenderTls.asked(tls, ca, cert, key)
        host, port = address_of(to) if to else _listener_of(stored.feed_named(settings, feed), secured)
        job = Sending(
            host, port, rate=rate, timeout=timeout, until_nak=until_nak, as_json=as_json, results=results, tls=secured
        )
        code = _send_files(settings, files_of([Path(what)]), job, from_start)
    raise typer.Exit(code)


def _send_files(settings: Settings, files: list[Path], job: Sending, from_start: bool) -> ExitCode:
    """Through the listener, going on where an earlier run of the same files ended before its end."""
    job = replace(job, answered_only=True, ahead=AHEAD)
    if any(str(file) == "-" for file in files):
        return send_all(files, job)
    location = settings.store.path
    data = Path(location).parent if "://" not in location else settings.directory / "data"
    progress = Progress(data, files, job.to)
    skip = 0 if from_start else progress.messages()
    if skip:
        output.say(f"{skip:,} messages were sent by a run that did not end: this one goes on behind them")
    return send_all(files, replace(job, progress=progress, skip=skip))


def _listener_of(feed: Feed, tls: SenderTls | None) -> tuple[str, int]:
    """Where to send to reach the feed's listener from this machine."""
    host, port = feed.listener.host, feed.listener.port
    if not port:
        advice = "Name the listener with --to HOST:PORT."
        raise ConfigError("the system chooses the port", file=feed.file, key="listener.port", advice=advice)
    if feed.listener.tls.certificate is not None and tls is None:
        advice = "Add --tls, with --ca, --cert and --key as its senders have them."
        raise ConfigError("is set: the listener speaks TLS alone", file=feed.file, key="listener.tls", advice=advice)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


# --- dry run ---------------------------------------------------------------------------------------------------------


def _dry_run(settings: Settings, message_id: int, what: str, feed_name: str, as_json: bool) -> ExitCode:
    """Translate, and plan against what the servers hold now; nothing is written or stored."""
    findings: Findings = []
    documents, code = _planned_documents(settings, message_id, what, feed_name, findings, quiet=as_json)
    if as_json:
        files = [file_data(*found) for found in findings]
        output.show_json("replay-dry-run/1", {"messages": documents, "files": files})
    else:
        show_files(findings)
    return max(code, ExitCode.FINDINGS) if findings else code


def plans(what: str, feed_name: str, directory: Path, *, quiet: bool) -> tuple[list[dict[str, Any]], ExitCode]:
    """What each message of a file, or a stored one, would change today, shown unless `quiet`; and how a command ends
    that says so. Raises ConfigError."""
    from hl7bridge.config import load

    message_id = int(what) if what.isdecimal() and not Path(what).exists() else 0
    return _planned_documents(load(directory), message_id, what, feed_name, [], quiet=quiet)


def _planned_documents(
    settings: Settings, message_id: int, what: str, feed_name: str, findings: Findings, *, quiet: bool
) -> tuple[list[dict[str, Any]], ExitCode]:
    from hl7bridge.desk.replay import Planner

    documents, codes = [], {ExitCode.GOOD}
    with Planner(settings) as planner:
        for name, feed, body in _chosen(settings, planner, message_id, what, feed_name, findings):
            document = {"message": name, **planner.document(feed, body)}
            documents.append(document)
            codes.add(_verdict(document))
            if not quiet:
                _show_document(document)
    return documents, max(codes)


def _chosen(
    settings: Settings, planner: Planner, message_id: int, what: str, feed_name: str, findings: Findings
) -> Iterator[tuple[str, Feed, bytes]]:
    if message_id:
        name, body = planner.stored(message_id)
        yield str(message_id), stored.feed_named(settings, feed_name or name), body
        return
    feed = stored.feed_named(settings, feed_name)
    for path, body in messages_of([Path(what)], findings):
        yield str(path), feed, body


def _verdict(document: dict[str, Any]) -> ExitCode:
    results = {Result(planned["result"]) for record in document["records"] for planned in record["destinations"]}
    if results & _OUT_OF_REACH:
        return ExitCode.UNREACHABLE
    failed = any(finding["severity"] == "E" for record in document["records"] for finding in record["findings"])
    return ExitCode.FINDINGS if document["error"] or failed or results - ENDED_WELL else ExitCode.GOOD


def _show_document(document: dict[str, Any]) -> None:
    output.show(("message ", "bold"), f"{document['message']}  {document['control_id']}  {document['mapping_version']}")
    if document["error"]:
        output.show("  ", (document["error"], output.BAD))
    for record in document["records"]:
        due = f"  effective {record['effective']}" if record["effective"] else ""
        failed = any(finding["severity"] == "E" for finding in record["findings"])
        what = record["action"] or ("not taken" if failed else "nothing to do")
        output.show((f"record {record['position']}", "bold"), f"  {what}  {record['source_key']}{due}")
        msg.show_findings(record["findings"], "    ")
        for planned in record["destinations"]:
            _show_planned(planned)


def _show_planned(planned: dict[str, Any]) -> None:
    good = Result(planned["result"]) in ENDED_WELL
    why = " ".join(filter(None, (planned["code"], planned["local"], planned["text"])))
    style = output.GOOD if good else output.BAD
    output.show(f"    -> {planned['destination']}: ", (planned["result"], style), f"  {why}" if why else "")
    for interaction in planned["interactions"]:
        msg.show_interaction(interaction, "       ")
    for task in planned["tasks"]:
        output.show("       ", ("task ", "yellow"), task["title"])


# --- a stored message, again -----------------------------------------------------------------------------------------


def _stored_again(settings: Settings, message_id: int, force: bool, wait: float, as_json: bool) -> ExitCode:
    """Store the message anew, linked to the first and outside the duplicate rule, and wait for its deliveries."""
    from hl7bridge.desk import replay as desk

    with stored.opened(settings) as store:
        done = desk.again(store, settings, message_id, actor(), force=force)
        changed = list(done.read_differently)
        if not as_json:
            output.say(f"message {message_id} is stored again as message {done.message_id}")
            if changed:
                output.show(f"read differently than by mapping {done.mapping_before}:")
                stored.show_differences(changed, "    ")
        message = desk.when_ended(store, done.message_id, wait)
    if as_json:
        told = {"replay_of": message_id, "read_differently": changed, "message": stored.with_times(message)}
        output.show_json("replay/1", told)
    else:
        msg.show_message_data(message)
    return _verdict_of_stored(message)


def _verdict_of_stored(message: dict[str, Any]) -> ExitCode:
    if open_deliveries(message):
        return ExitCode.QUEUED
    held = any(delivery["state"] == "held" for record in message["records"] for delivery in record["deliveries"])
    failed = any(record["failed"] for record in message["records"])
    return ExitCode.FINDINGS if held or failed else ExitCode.GOOD
