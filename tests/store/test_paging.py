"""Lists come in pages: each row once, whatever comes or goes between two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hl7bridge.model import Result, Task
from hl7bridge.model.listing import Listed, cursor, place
from hl7bridge.store.store import DeliveryState, Store
from tests.store.builders import NOW, OpenStore, accept_one, change, claim, outcome, settlement

CAUSE = "ambiguous"
List = Callable[..., Listed[Any]]


def held(store: Store, *keys: str) -> None:
    """People whose changes are held, each with a task."""
    for key in keys:
        accept_one(store, change(key))
    for one in claim(store, limit=len(keys)):
        found = outcome(Result.HELD, local=CAUSE, tasks=(Task("write-by-hand", "Write"),))
        store.settlements.settle([settlement(one, DeliveryState.HELD, outcome=found)], NOW)


def asked(store: Store, *keys: str) -> None:
    for key in keys:
        store.reloads.ask_reload(key, NOW)


# The list, what adds to it, what its rows are told apart by, and whether the newest come first.
LISTS: dict[str, tuple[Callable[[Store], List], Callable[..., None], str, bool]] = {
    "holds": (lambda store: store.holds.holds, held, "source_key", False),
    "quarantine": (
        lambda store: lambda **given: store.links.quarantined([CAUSE], **given),
        held,
        "source_key",
        False,
    ),
    "tasks": (lambda store: store.worklist.tasks, held, "source_key", False),
    "messages": (lambda store: store.audit.messages, held, "id", True),
    "reloads": (lambda store: store.reloads.reloads, asked, "who", True),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("limit", [2, 5])
def test_each_row_once_in_order(store: Store, name: str, limit: int) -> None:
    ask, add, tells, newest_first = LISTS[name]
    add(store, *"ABCDE")
    whole = ask(store)(limit=100)
    assert whole.next == ""
    assert len({getattr(row, tells) for row in whole}) == 5
    assert [row.id for row in whole] == sorted((row.id for row in whole), reverse=newest_first)
    found, after = [], ""
    while True:
        page = ask(store)(limit=limit, after=after)
        assert len(page) <= limit
        found += page.rows
        after = page.next
        if not after:
            break
        assert len(page) == limit, "full, or the last"
    assert found == list(whole)


@pytest.mark.parametrize("name", LISTS)
def test_what_comes_meanwhile_neither_repeats_nor_hides_a_row(open_store: OpenStore, name: str) -> None:
    ask, add, tells, newest_first = LISTS[name]
    store, other = open_store(), open_store()
    add(store, *"ABCDE")
    before = [getattr(row, tells) for row in ask(store)(limit=100)]
    first = ask(store)(limit=2)
    add(other, *"XYZ")
    rest = ask(store)(limit=100, after=first.next)
    seen = [getattr(row, tells) for row in (*first, *rest)]
    assert seen[:5] == before
    assert len(seen) == (5 if newest_first else 8), "newer ones stand before the first page, or at the end"


@pytest.mark.parametrize("name", ["holds", "quarantine"])
def test_what_goes_meanwhile_neither_repeats_nor_hides_another(store: Store, name: str) -> None:
    ask, add, _, _ = LISTS[name]
    add(store, *"ABCDE")
    first = ask(store)(limit=2)
    for row in first:
        assert store.holds.discard(row.id, NOW, who="ana", reason="done")
    assert [row.source_key for row in ask(store)(limit=2, after=first.next)] == ["C", "D"]


WRONG = ["1", "x", "\u00e9", "====", cursor("others", 2), cursor("holds", 2) + "A", cursor("holds", -1) * 2, "A" * 999]


@pytest.mark.parametrize("name", LISTS)
def test_a_place_that_the_list_does_not_have_is_refused(store: Store, name: str) -> None:
    for wrong in WRONG:
        with pytest.raises(ValueError, match="no place in the list"):
            LISTS[name][0](store)(after=wrong)


@pytest.mark.parametrize("row", [1, 7, 10**12])
def test_a_cursor_leads_back_to_its_place_and_says_nothing(row: int) -> None:
    text = cursor("holds", row)
    assert place("holds", text) == row
    assert text.isascii()
    assert "holds" not in text
    assert place("tasks", "") == 0
