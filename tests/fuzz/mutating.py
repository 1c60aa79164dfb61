"""Seeded mutations of messages, for where no fuzzer that sees coverage is at hand: cheap, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
LONGEST = 8192  # bytes of what comes out

# What has a meaning somewhere: separators, escapes, frames, names, keys of tables, times and character sets.
WORDS = [
    *(bytes([one]) for one in b"|^~\\&\r\n\0\x0b\x1c\x1b\"#' -+/.0"),
    *rb"""\T\ \X41\ \XFF\ \.br\ \H\ \C2842\ \M2A3F\ \ "" MSH FHS|^~\&| BHS|^~\&| BTS|1 FTS|1 MFI| MFE| STF| PRA| ORG|
          EVN| ZZZ| MFN^M02 PMU^B01 ADT^A08 ACK MAD MUP MDC MAC MDL UPD REP PRA AL NE P T 2.5.1 2.1
          8859/1 20260229 00010101 99991231235959.9999+1400 2026""".split(),
    *(b"UNICODE UTF-8", b"ISO IR87", b"GB 18030-2000", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc5\xbf", b"\xc3\x28"),
    *(b"\x1c\r", b"\r\n", b"9" * 40),
]


def seeds() -> list[bytes]:
    """The sample messages and the corpus."""
    paths = [*(ROOT / "sample_messages").rglob("*.hl7"), *CORPUS.iterdir()]
    return [path.read_bytes() for path in sorted(paths)]


def mutated(rng: random.Random, raw: bytes, others: list[bytes]) -> bytes:
    """One to six changes: a piece taken out, put in, doubled, overwritten, exchanged, or joined from another message."""
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(raw) + 1)
        end = min(len(raw), at + rng.choice((1, 1, 2, 4, 16, 64)))
        match rng.randrange(6):
            case 0:
                raw = raw[:at] + raw[end:]
            case 1:
                raw = raw[:at] + rng.choice(WORDS) + raw[at:]
            case 2:
                raw = raw[:at] + raw[at:end] * rng.choice((2, 3, 50)) + raw[end:]
            case 3:
                raw = raw[:at] + rng.randbytes(min(end - at, 4)) + raw[end:]
            case 4:
                lines = raw.split(b"\r")
                one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                raw = b"\r".join(lines)
            case _:
                other_raw = rng.choice(others)
                raw = raw[:at] + other_raw[rng.randrange(len(other_raw) + 1) :]
    return raw[:LONGEST]


def stream(seed: int) -> Iterator[bytes]:
    """Mutations without an end, from the seeds."""
    rng, base = random.Random(seed), seeds()
    while True:
        yield mutated(rng, rng.choice(base), base)
