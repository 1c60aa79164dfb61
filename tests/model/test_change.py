"""What a change says of the person: now, and of whether they are of the staff at all."""

from __future__ import annotations

import pytest

from hl7bridge.model import Action, StaffChange


@pytest.mark.parametrize(
    ("action", "temporary", "active", "present", "staff"),
    [
        (Action.ADD, False, True, True, True),
        (Action.UPDATE, False, None, None, None),
        (Action.UPDATE, False, False, False, False),
        (Action.DEACTIVATE, False, True, False, False),  # the event says it, whatever STF-7 does
        (Action.REMOVE, False, None, False, False),
        (Action.REACTIVATE, False, False, True, True),
        (Action.DEACTIVATE, True, None, False, None),  # away: not there, and staff as before
    ],
)
def test_what_it_says_of_the_person(
    action: Action, temporary: bool, active: bool | None, present: bool | None, staff: bool | None
) -> None:
    change = StaffChange(action, "E1", (), active, temporary=temporary)
    assert (change.says_present, change.says_staff) == (present, staff)


@pytest.mark.parametrize("action", Action)
def test_an_event_that_ends_is_overtaken_only_by_a_word_about_staff(action: Action) -> None:
    telephone, back = StaffChange(Action.UPDATE, "E1", ()), StaffChange(Action.UPDATE, "E1", (), True)
    away = StaffChange(Action.DEACTIVATE, "E1", (), temporary=True)
    earlier = StaffChange(action, "E1", ()).kind
    assert telephone.overtakes(earlier) is away.overtakes(earlier) is (not action.ends)
    assert back.overtakes(earlier)
