"""Messages from files: framed or bare, one or many, batches split; and the configuration that reads them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hl7bridge.errors import ConfigError, UnreadableMessage
from hl7bridge.hl7 import batch
from hl7bridge.hl7.mllp import END_BLOCK, START_BLOCK, Decoder, FrameReceived, NeedData

_BLANK = b"\r\n \t\0"  # not bytes.strip(), to which VT is a blank, too
_CHUNK = 1024 * 1024  # bytes
_MESSAGE = re.compile(b"(?:\\A|[\r\n])MSH")
LARGEST = 256 * 1024 * 1024  # bytes; a file of messages is read whole


def read_file(path: Path) -> bytes:
    """The bytes of a file, "-" = standard input. Raises OSError, ConfigError for one that is too large."""
    with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError("is larger than 256 MiB", file=str(path), advice="Split it.")
    return content


def split_messages(content: bytes) -> list[bytes]:
    """The messages of a file's bytes, as they stand there: MLLP frames and batch envelopes are taken off.

    A frame or file that holds no message counts as one, so that what is in it can be sent and shown.
    """
    frames = [content]
    if content.lstrip(_BLANK).startswith(START_BLOCK):
        decoder = Decoder(max_frame=LARGEST)
        decoder.receive_data(content if content.rstrip(_BLANK).endswith(END_BLOCK) else content + END_BLOCK + b"\r")
        frames = []
        while not isinstance(event := decoder.next_event(), NeedData):
            if isinstance(event, FrameReceived):
                frames.append(event.body)
        decoder.end_of_block_timeout()
        if isinstance(event := decoder.next_event(), FrameReceived):
            frames.append(event.body)
    messages: list[bytes] = []
    for frame in frames:
        if frame.strip():
            messages += batch.split(frame).messages or [frame]
    return messages


def stream_messages(path: Path) -> Iterator[bytes]:
    """The messages of a file of any size, as `split_messages` gives them, few of them in memory at a time.

    Raises OSError, ConfigError for a single message that is larger than 256 MiB.
    """
    with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
        chunk = file.read(_CHUNK)
        framed = chunk.lstrip(_BLANK).startswith(START_BLOCK)
        rest = b""
        while chunk:
            rest += chunk
            last = rest.rfind(END_BLOCK) if framed else max(rest.rfind(b"\rMSH"), rest.rfind(b"\nMSH"))
            cut = last + 1
            if cut and (framed or _MESSAGE.search(rest, 0, cut)):
                yield from split_messages(rest[:cut])
                rest = rest[cut:]
            if len(rest) > LARGEST:
                raise ConfigError("holds a message larger than 256 MiB", file=str(path), advice="Is it the right file?")
            chunk = file.read(_CHUNK)
    if rest.strip(_BLANK):
        yield from split_messages(rest)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Files as they are; a folder stands for its .hl7 files, by name, but for answers (.ack.hl7)."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += [file for file in sorted(path.glob("*.hl7")) if not file.name.endswith(".ack.hl7")]
        else:
            found.append(path)
    return found


def messages_of(paths: Sequence[Path]) -> list[tuple[Path, bytes]]:
    """(file, message) for each message of each file; a folder stands for its .hl7 files, by name, but for answers
    (.ack.hl7).

    Raises OSError for a file that can't be read, UnreadableMessage when there is no message at all.
    """
    found: list[tuple[Path, bytes]] = []
    for file in files_of(paths):
        found += [(file, message) for message in split_messages(read_file(file))]
    if not found:
        raise UnreadableMessage("100", "empty", f"there is no message in {', '.join(map(str, paths))}")
    return found
