"""The published messages of `../shared/corpus`, where they are there: read in place, never copied."""

from __future__ import annotations

from pathlib import Path

import pytest

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
FILES = sorted(CORPUS.rglob("*.hl7")) if CORPUS.is_dir() else []

needs_corpus = pytest.mark.skipif(not FILES, reason=f"the message corpus is not there ({CORPUS})")


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
