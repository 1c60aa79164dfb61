"""`hl7bridge register-help`: what the owner of a destination asks for when a client is registered, and what comes after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, JsonOption

if TYPE_CHECKING:
    from hl7bridge.desk.setup.asking import Registration


def register_help(
    destination: Annotated[str, typer.Argument(metavar="[DESTINATION]", help="Its name; all when left out.")] = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Print what a destination's owner asks for: to register this client, and until it goes live.

    \b
      hl7bridge register-help
      hl7bridge register-help ehr --json

    Application type, scopes and APIs that the destination's modes need, public key. Nothing that is printed is secret,
    and nothing is sent to anyone.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.setup.asking import registrations

    found = registrations(load(config), destination)
    if as_json:
        output.show_json("register-help/1", {"destinations": [one.data() for one in found]})
        return
    for number, one in enumerate(found):
        if number:
            output.show("")
        _show(one)


def _show(one: Registration) -> None:
    output.show((f"To register for {one.destination} (mode {one.mode})", "bold"))
    for name, text in one.rows:
        output.show("  ", (f"{name:<18}", output.QUIET), text)
    if one.key_set:
        output.show("  ", (f"{'public key set':<18}", output.QUIET), "as below; the same as `hl7bridge keys jwks`")
        for line in json.dumps(one.key_set, indent=2).splitlines():
            output.show("    ", line)
    else:
        output.show("  ", (f"{'public key set':<18}", output.QUIET), "not yet: ", one.key_problem)
        output.show("  ", " " * 18, "make a key with `hl7bridge keys generate keys/NAME.pem`")
    output.show(("Until it goes live", "bold"))
    for line in one.checklist:
        output.show("  [ ] ", line)
