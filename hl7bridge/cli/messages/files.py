"""Messages from files: framed or bare, one or many, batches split; and the configuration that reads them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hl7bridge.errors import ConfigError, UnreadableMessage
from hl7bridge.hl7.stream import LARGEST, MessageStream, Piece
from hl7bridge.model import Finding

_CHUNK = 1024 * 1024  # bytes

Findings = list[tuple[Path, Finding]]
"""What is to be said of files, rather than of one of their messages."""


def read_file(path: Path) -> bytes:
    """The bytes of a file, "-" = standard input. Raises OSError, ConfigError for one that is too large."""
    with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError("is larger than 256 MiB", file=str(path), advice="Split it.")
    return content


def split_messages(content: bytes, path: Path = Path("-"), findings: Findings | None = None) -> list[bytes]:
    """The messages of a file's bytes, as they stand there: MLLP frames and batch envelopes are taken off. What is to be said
    of the file itself is added to `findings`, under `path`.

    A file that holds no message counts as one, so that what is in it can be sent and shown.
    """
    stream = MessageStream()
    stream.receive_data(content)
    messages: list[bytes] = []
    while piece := stream.next_piece():
        messages.append(piece.raw)
    stream.end()
    while piece := stream.next_piece():
        messages.append(piece.raw)
    if findings is not None:
        findings += [(path, finding) for finding in stream.findings]
    return messages or ([content] if content.strip() else [])


def stream_pieces(path: Path, largest: int = LARGEST, findings: Findings | None = None) -> Iterator[Piece]:
    """The messages of a file of any size, few of them in memory at a time. Raises OSError.

    A file that holds no message counts as one, as far as it is read at once, so that what is in it can be sent and shown.
    What is to be said of the file itself (counts in BTS and FTS, a missing trailer) is added to `findings` behind the last.
    """
    stream, first, some = MessageStream(largest), b"", False
    with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            first = first or chunk
            stream.receive_data(chunk)
            while piece := stream.next_piece():
                some = True
                yield piece
    stream.end()
    while piece := stream.next_piece():
        some = True
        yield piece
    if findings is not None:
        findings += [(path, finding) for finding in stream.findings]
    if not some and first.strip():
        yield Piece(first, len(first), len(first))


def stream_messages(path: Path) -> Iterator[bytes]:
    """The messages of a file of any size, as `split_messages` gives them, few of them in memory at a time.

    Raises OSError, ConfigError for a single message that is larger than 256 MiB.
    """
    for piece in stream_pieces(path):
        if piece.too_large:
            raise ConfigError("holds a message larger than 256 MiB", file=str(path), advice="Is it the right file?")
        yield piece.raw


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way out. `number`: among those of all files; `passed`: bytes of all files behind its end."""

    message: bytes
    number: int
    passed: int


def outgoing(files: Sequence[Path], skip: int = 0, findings: Findings | None = None) -> Iterator[Outgoing]:
    """The messages of files one after the other, but for the first `skip`; few of them in memory at a time.

    What is to be said of a file itself is added to `findings` once its end was read.
    Raises OSError, ConfigError for a message larger than 256 MiB, UnreadableMessage when there is no message at all.
    """
    number = passed = 0
    for file in files:
        end = 0
        for piece in stream_pieces(file, findings=findings):
            if piece.too_large:
                raise ConfigError("holds a message larger than 256 MiB", file=str(file), advice="Is it the right file?")
            number, end = number + 1, piece.end
            if number > skip:
                yield Outgoing(piece.raw, number, passed + end)
        passed += file.stat().st_size if str(file) != "-" else end
    if not number:
        raise UnreadableMessage("100", "empty", f"there is no message in {', '.join(map(str, files))}")


def size_of(files: Sequence[Path]) -> int:
    """Bytes of all files; 0 where one is standard input. Raises OSError."""
    return 0 if any(str(file) == "-" for file in files) else sum(file.stat().st_size for file in files)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Files as they are; a folder stands for its .hl7 files, by name, but for answers (.ack.hl7)."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += [file for file in sorted(path.glob("*.hl7")) if not file.name.endswith(".ack.hl7")]
        else:
            found.append(path)
    return found


def messages_of(paths: Sequence[Path], findings: Findings | None = None) -> list[tuple[Path, bytes]]:
    """(file, message) for each message of each file; a folder stands for its .hl7 files, by name, but for answers
    (.ack.hl7). What is to be said of a file itself is added to `findings`.

    Raises OSError for a file that can't be read, UnreadableMessage when there is no message at all.
    """
    found: list[tuple[Path, bytes]] = []
    for file in files_of(paths):
        found += [(file, message) for message in split_messages(read_file(file), file, findings)]
    if not found:
        raise UnreadableMessage("100", "empty", f"there is no message in {', '.join(map(str, paths))}")
    return found
