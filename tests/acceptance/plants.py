"""Faults to plant in a journal or a sender's log without one: the proof that the checker finds them.

The unit tests plant them in made-up files; each run of `kills` plants a loss, a double and a swap in copies of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.acceptance import checker

Rows = list[dict[str, Any]]
Plant = Callable[[Rows, Rows], None]


def places(journal: Rows, person: str = "") -> list[int]:
    """Where in the journal the versions of the busiest person (or the one named) stand."""
    by_id: dict[str, list[int]] = {}
    for place, row in enumerate(journal):
        if (row.get("stored") or {}).get("resourceType") == "Practitioner":
            by_id.setdefault(row["stored"]["id"], []).append(place)
    return by_id[f"p-{person}"] if person else max(by_id.values(), key=len)


def lose_the_last(journal: Rows, _: Rows) -> None:
    del journal[places(journal)[-1]]


def lose_one_between(journal: Rows, _: Rows) -> None:
    """The one marker that nothing repeats: a version whose neighbours have other markers."""
    for place, after in zip(places(journal)[1:], places(journal)[2:], strict=False):
        if checker.markers(journal[place]["stored"]) != checker.markers(journal[after]["stored"]):
            del journal[place]
            return


def lose_a_person(journal: Rows, _: Rows) -> None:
    for place in reversed(places(journal)):
        del journal[place]


def lose_a_deactivation(journal: Rows, _: Rows) -> None:
    for place in places(journal):
        if not journal[place]["stored"]["active"]:
            del journal[place]
            return


def create_twice(journal: Rows, _: Rows) -> None:
    second = copy.deepcopy(journal[places(journal)[0]])
    second["stored"]["id"] = "another"
    second["stored"]["identifier"] = second["stored"]["identifier"][1:]  # the NPI alone gives it away
    journal.append(second)


def create_a_role_twice(journal: Rows, _: Rows) -> None:
    first = next(row for row in journal if (row.get("stored") or {}).get("resourceType") == "PractitionerRole")
    second = copy.deepcopy(first)
    second["stored"]["id"] = "another"
    journal.append(second)


def swap_two(journal: Rows, _: Rows) -> None:
    *_, one, other = places(journal)
    for place, after in zip(places(journal), places(journal)[1:], strict=False):
        if checker.markers(journal[place]["stored"]) != checker.markers(journal[after]["stored"]):
            one, other = place, after
    journal[one], journal[other] = journal[other], journal[one]


def write_without_change(journal: Rows, _: Rows) -> None:
    place = places(journal)[-1]
    again = copy.deepcopy(journal[place])
    again["stored"]["meta"]["versionId"] = "99"
    journal.insert(place + 1, again)


def apply_twice(journal: Rows, _: Rows) -> None:
    """A lifecycle change that had effect once more when the sender sent it again."""
    last = copy.deepcopy(journal[places(journal)[-1]])
    flipped = copy.deepcopy(last)
    flipped["stored"]["active"] = not flipped["stored"]["active"]
    journal += [flipped, last]


def take_the_wrong_person(journal: Rows, _: Rows) -> None:
    one, other = journal[places(journal, "K0050001")[0]], journal[places(journal, "K0050002")[0]]
    one["stored"]["telecom"] = other["stored"]["telecom"]


def keep_the_old_value(journal: Rows, _: Rows) -> None:
    first, *_, last = places(journal)
    journal[last]["stored"]["telecom"].append(journal[first]["stored"]["telecom"][1])


def never_answer(_: Rows, ledger: Rows) -> None:
    del ledger[max(place for place, row in enumerate(ledger) if row["event"] == "answered")]


def refuse_after_accepting(_: Rows, ledger: Rows) -> None:
    ledger.append({**ledger[-1], "code": "AE"})


IN_A_REAL_RUN: tuple[tuple[Plant, str], ...] = (
    (lose_the_last, "lost"),
    (lose_one_between, "lost"),
    (create_twice, "doubled"),
    (swap_two, "order"),
    (write_without_change, "no change"),
)


def unseen(journal: Rows, ledger: Rows) -> list[checker.Fault]:
    """Plant a loss, a double and a swap in copies of a faultless run; a fault for each one that the checker misses."""
    missed = []
    for plant, kind in IN_A_REAL_RUN:
        rows = copy.deepcopy(journal)
        plant(rows, ledger)
        if kind not in {fault.kind for fault in checker.check(rows, ledger).faults}:
            missed.append(checker.Fault("blind", plant.__name__, "was planted and not found"))
    return missed
