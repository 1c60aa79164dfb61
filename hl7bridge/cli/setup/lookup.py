"""`hl7bridge lookup`: whom a destination holds under an NPI. It only reads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError

_WORDS = {True: "yes", False: "no", None: "not said"}


def lookup(
    destination: Annotated[
        str, typer.Argument(metavar="[DESTINATION]", help="Its name; may be left out where there is one only.")
    ] = "",
    npi: Annotated[str, typer.Option("--npi", metavar="NPI", help="Whom to look for.")] = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Look a person up at a destination by NPI: id, whether active, and how many roles. Nothing is written.

    \b
      hl7bridge lookup --npi 1234567893
      hl7bridge lookup ehr --npi 1234567893 --json

    Ends with 1 when nobody, or more than one, carries the NPI, or the server refuses; with 3 when it is out of reach.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.setup import asking
    from hl7bridge.desk.setup.examination import check_npi

    if not npi:
        raise ConfigError("is missing", key="--npi", advice="Name the person's NPI, ten digits.")
    check_npi(npi)
    name, people = asking.look_up(load(config), destination, npi)
    if as_json:
        output.show_json("lookup/1", {"destination": name, "practitioners": [asdict(one) for one in people]})
    elif people:
        output.show_table(
            ("id", "active", "roles", "active roles"),
            [(one.id, _WORDS[one.active], one.roles, one.active_roles) for one in people],
        )
    if len(people) != 1:
        output.say("Nobody carries this NPI there." if not people else "More than one carries it: have them merged.")
        raise typer.Exit(ExitCode.FINDINGS)
