"""All of ../shared/corpus over a real socket: no crash, no hang, each frame answered as it asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import corpus


@pytest.mark.skipif(not corpus.CORPUS.is_dir(), reason=f"the published messages are not there: {corpus.CORPUS}")
@pytest.mark.slow
def test_every_published_message_is_answered_as_it_asks(tmp_path: Path) -> None:
    report, table = corpus.run(tmp_path)
    assert report.faults == []
    assert report.figures["Practitioner versions"] > 10
    assert sum(sum(row.values()) for row in table.values()) > 250
