"""Every decision of the desk asks first whether its actor's role allows it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator

import pytest

from hl7bridge import desk
from hl7bridge.desk.deciding import Actor, Role
from hl7bridge.errors import ConfigError

# What each decision takes.
TAKES = {
    Role.OPERATE: {
        "destinations.pause",
        "destinations.resume",
        "destinations.retry_writes",
        "replay.again",
        "restore.take_back",
        "tasks.assign",
        "tasks.finish",
    },
    Role.APPROVE: {
        "go_live.confirm",
        "holds.discard",
        "holds.release",
        "identity.linking.link",
        "identity.linking.link_by_file",
        "identity.linking.unlink",
        "identity.quarantine.plan_again",
        "identity.quarantine.release",
        "restore.approve",
        "restore.reject",
    },
    Role.ADMIN: {"identity.id_map.import_ids", "reload.ask"},
}


def decisions() -> Iterator[tuple[str, Callable[..., object]]]:
    """Every public function of the desk that takes an actor."""
    for found in pkgutil.walk_packages(desk.__path__, "hl7bridge.desk."):
        module = importlib.import_module(found.name)
        for name, decide in vars(module).items():
            is_own = inspect.isfunction(decide) and decide.__module__ == found.name and not name.startswith("_")
            if is_own and "actor" in inspect.signature(decide).parameters:
                yield f"{found.name.removeprefix('hl7bridge.desk.')}.{name}", decide


DECISIONS = dict(decisions())


def test_each_decision_is_in_the_table() -> None:
    assert set(DECISIONS) == set().union(*TAKES.values())


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in TAKES.items() for name in sorted(names)])
def test_who_has_the_role_before_it_may_not(role: Role, name: str) -> None:
    """It is asked before anything else is looked at: the rest is not even there."""
    decide = DECISIONS[name]
    needed = {
        one.name: None
        for one in inspect.signature(decide).parameters.values()
        if one.default is inspect.Parameter.empty
    }
    for less in Role:
        if not less.includes(role):
            with pytest.raises(ConfigError, match=f"your role {less} does not allow this. Ask .* {role}"):
                decide(**needed | {"actor": Actor("ana", role=less)})
        else:
            Actor("ana", role=less).must_have(role)


def test_the_command_line_may_do_all() -> None:
    assert all(Actor("ana").role.includes(role) for role in Role)
