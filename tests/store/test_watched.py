"""The parts of the store ask of a connection what every database gives; the watcher would notice anything else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl7bridge.store import connection
from hl7bridge.store.sqlite.connection import SqliteConnection
from hl7bridge.store.store import Store
from tests.store.builders import NOW, accept_one, change, claim, settlement
from tests.store.watched import SQLITE_ALONE, WatchedConnection

STORE = Path(connection.__file__).parent
PARTS = sorted(path for path in STORE.rglob("*.py") if "sqlite" not in path.parts)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedConnection]:
    made = WatchedConnection(SqliteConnection(tmp_path / "store.db"))
    yield made
    made.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM message INDEXED BY message_shown",
        "SELECT json_extract(other_header, '$.a') FROM message",
        "SELECT 1 FROM message WHERE feed = ?1",
        "SELECT id FROM message LIMIT -1 OFFSET 2",
        "SELECT id FROM message WHERE 1",
        "INSERT OR IGNORE INTO worker VALUES ('w', 1)",
        "PRAGMA user_version",
    ],
)
def test_words_of_one_database_alone_are_noticed(watched: WatchedConnection, sql: str) -> None:
    with watched.writing(), pytest.raises(AssertionError, match="belongs to the dialect"):
        watched.execute(sql)


def test_a_change_outside_a_transaction_and_one_within_another_are_noticed(watched: WatchedConnection) -> None:
    with pytest.raises(AssertionError, match="outside"):
        watched.execute("DELETE FROM worker")
    with watched.reading(), pytest.raises(AssertionError, match="within"), watched.writing():
        pass


def test_it_sees_what_the_parts_say(watched: WatchedConnection) -> None:
    store = Store(watched)
    accept_one(store, change())
    store.settlements.settle([settlement(one) for one in claim(store)], NOW)
    assert len(watched.statements) > 30


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_no_part_says_what_one_database_alone_understands(path: Path) -> None:
    """In any of its texts, run by a test or not."""
    tree = ast.parse(path.read_bytes())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    assert [text for text in texts if SQLITE_ALONE.search(text)] == []
