"""`hl7bridge check`: everything that can be told without talking to anyone: settings, keys, store, ports, tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ExitCode, JsonOption


def check(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", envvar="HL7BRIDGE_CONFIG", help="The folder that holds conf/.")
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Check the configuration and what it names: each problem, where it is, and what to do.

    \b
      hl7bridge check
      hl7bridge check /srv/hl7bridge --json

    Every file of conf/ is read; keys must be readable and of the right kind, the store's folder writable, ports free,
    code tables known; of master files that came (MFI-1) it says which names no table knows. Nothing is sent to anyone:
    `hl7bridge token test` tries the authorization.

    Ends with 2 when hl7bridge would not run like this, with 1 for what deserves a look.
    """
    from hl7bridge.desk.setup import readiness

    lines = list(readiness.report(directory))
    verdicts = {line.verdict for line in lines}
    if as_json:
        output.show_json("check/1", {"directory": str(directory.absolute()), "lines": [line.data() for line in lines]})
    else:
        styles = {"good": output.GOOD, "warning": "yellow", "error": output.BAD}
        for line in lines:
            output.show((f"{line.verdict:<7}  ", styles[line.verdict]), line.text)
    if "error" in verdicts:
        raise typer.Exit(ExitCode.USAGE)
    if "warning" in verdicts:
        raise typer.Exit(ExitCode.FINDINGS)
