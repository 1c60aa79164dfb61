"""`hl7bridge redact`: a copy of messages that may be shown to others: the same structure, other people."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.messages.files import read_file, split_messages
from hl7bridge.cli.messages.view import CharsetOption
from hl7bridge.cli.output import ConfigOption, ExitCode
from hl7bridge.errors import ConfigError, MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.invented.pseudonyms import Pseudonyms
from hl7bridge.invented.redaction import redact as redacted
from hl7bridge.invented.redaction import redact_between

if TYPE_CHECKING:
    from hl7bridge.mapping.feed_rules import FeedRules

_SHORTEST_KEY = 16  # bytes


def redact(
    what: Annotated[
        str, typer.Argument(metavar="FILE|ID", help="Messages in a file (- for standard input), or a stored one.")
    ],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Where to write; - for standard output.")] = "-",
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="The key of the pseudonyms; made where there is none."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Keep no code, unit, system or authority but those that a table knows.")
    ] = False,
    charset: CharsetOption = None,
    config: ConfigOption = Path(),
) -> None:
    """Write a copy of messages to show to others: people are replaced, all else is as it was.

    \b
      hl7bridge redact 42 --out for-the-vendor.hl7
      hl7bridge redact nightly.hl7 --out copy.hl7 --key-file pseudonyms.key

    The same value gets the same pseudonym everywhere in a run, and with --key-file in every run: keep that file to
    yourself, it turns guesses into proofs. Replaced are names, identifiers, dates of birth, telephone numbers, addresses,
    control ids, notes, all of a patient, Z segments, and every field that is not known. Kept are separators, escapes, codes
    and their texts, units, specialties, valid dates of employment and of certificates, and the names of systems, facilities
    and authorities. The copy maps like the original. Read it before you give it away: a name in a field that holds codes
    stays, unless another field shows that it is one. With --strict such fields, the header's too, keep what a code table
    knows, and nothing else but valid times, numbers and object identifiers in their places: for messages whose fields are
    shifted.

    Ends with 1, and writes nothing, when a message can't be read: what is not understood is not replaced, either.
    """
    rules: FeedRules | None = None
    message_id = int(what) if what.isdecimal() and not Path(what).exists() else 0
    charsets: list[str] | tuple[str, ...] = charset or ("utf-8", "cp1252")
    if message_id:
        from hl7bridge.assemble.mapping import feed_rules
        from hl7bridge.config import load

        settings = load(config)
        with stored.opened(settings) as store:
            feed = stored.message_of(store, message_id)["feed"]
            content = stored.body_of(store, message_id)
        if feed in settings.feeds:
            rules = feed_rules(settings.feeds[feed])
            charsets = charset or settings.feeds[feed].hl7.charset
    else:
        content = read_file(Path(what))
    if out != "-" and Path(out).exists() and not message_id and what != "-" and Path(out).samefile(what):
        raise ConfigError("would replace the original", key="--out", advice="Name another file.")
    copy = _copy(content, charsets, Pseudonyms(_key(key_file)), what, _known(rules) if strict else None)
    if out == "-":
        output.show_messages(copy)
        return
    Path(out).write_bytes(copy)
    output.say(f"{out} is written: names of units, facilities and authorities stand in it as sent")


def _known(rules: FeedRules | None) -> frozenset[str]:
    """The codes and authorities that the tables know: the packaged ones, and those of a stored message's feed."""
    from hl7bridge.mapping.rules.tables import code_tables, named

    tables = rules.codes if rules else code_tables()
    authorities = rules.systems_by_authority if rules else named("authorities")
    return frozenset(authorities).union(*tables.values())


def _key(path: Path | None) -> bytes:
    """The key of the file, made and written where there is none; without a file, one for this run."""
    if path is None:
        return secrets.token_bytes(32)
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
        output.say(f"{path} is made: the key of these pseudonyms")
    key = path.read_bytes().strip()
    if len(key) < _SHORTEST_KEY:
        raise ConfigError(
            f"holds less than {_SHORTEST_KEY} bytes", file=str(path), advice="Remove it: a new one is made."
        )
    return key


def _copy(
    content: bytes,
    charsets: list[str] | tuple[str, ...],
    pseudonyms: Pseudonyms,
    what: str,
    known: frozenset[str] | None,
) -> bytes:
    """The content with each message redacted in its place; frames and batch envelopes stay around them."""
    found, at = [], 0
    messages = split_messages(content)
    if not messages:
        raise ConfigError(f"there is no message in {what}", advice="Is it the right file?")
    with output.progress("messages", len(messages)) as advance:
        for number, body in enumerate(messages, 1):
            start = content.index(body, at)
            found.append(redact_between(content[at:start], pseudonyms))
            at = start + len(body)
            try:
                found.append(redacted(Message(body, charsets), pseudonyms, known))
            except MessageError as error:
                output.say((f"message {number}: ", "bold"), (str(error), output.BAD))
                output.say("Nothing is written: what cannot be read cannot be redacted.")
                raise typer.Exit(ExitCode.FINDINGS) from None
            advance()
    found.append(redact_between(content[at:], pseudonyms))
    return b"".join(found)
