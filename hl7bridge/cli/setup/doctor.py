"""`hl7bridge doctor`: looks at destinations as deliveries would use them, and says in plain words what is wrong and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import DestinationSettings
    from hl7bridge.desk.setup.examination import Diagnosis

STYLES = {"ok": output.GOOD, "warning": "yellow", "problem": output.BAD, "skipped": output.QUIET}

NpiOption = Annotated[str, typer.Option("--npi", metavar="NPI", help="The NPI of somebody who is known to be there.")]


def doctor(
    destination: Annotated[str, typer.Argument(metavar="[DESTINATION]", help="Its name; all when left out.")] = "",
    npi: NpiOption = "",
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE.zip", help="Write a support file; it must not exist.")
    ] = None,
    keep_hosts: Annotated[
        bool, typer.Option("--keep-hosts", help="Leave addresses of servers in the support file as they are.")
    ] = False,
    log_lines: Annotated[
        int, typer.Option("--log-lines", metavar="N", min=0, help="Lines of the log in the support file.")
    ] = 500,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Examine the destinations: what works, what does not, why, and what to do about it.

    \b
      hl7bridge doctor
      hl7bridge doctor ehr --npi 1234567893       does it find a person by the NPI?
      hl7bridge doctor --bundle support.zip       the same and more, for whoever helps you

    Address, certificate, clock, key, token, scopes, what the server says that it offers, and each search that deliveries
    make, tried with a value that nobody has. Nothing is written at the server.

    The support file holds versions, settings without values that name anything, counts, these results, and the end of
    the log: no message, no name, no key, no token; servers are called host-1, host-2.

    Ends with 3 when a server or its token endpoint is out of reach, with 1 for problems and warnings.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.setup import examination

    settings = load(config)
    if npi:
        examination.check_npi(npi)
    installation = examination.installation(settings.store.path)
    if not as_json:
        output.show(("this installation:", "bold"))
        _show(installation)
    if bundle is not None and bundle.exists():
        raise ConfigError("exists already", file=str(bundle), advice="Choose another name.")
    if as_json:
        found = examination.examine(settings, destination, npi)
    else:
        found = examination.examine(settings, destination, npi, begun=_begin, told=_show)
    written = ""
    if bundle is not None:
        from hl7bridge.desk.setup.support import write_bundle

        write_bundle(bundle, settings, found, keep_hosts=keep_hosts, log_lines=log_lines)
        written = str(bundle)
    diagnoses = [installation, *(diagnosis for one in found for diagnosis in one.diagnoses)]
    if as_json:
        data = {"bundle": written, "installation": [installation.data()], "destinations": [one.data() for one in found]}
        output.show_json("doctor/1", data)
    else:
        counts = Counter(one.state.value for one in diagnoses)
        output.say(", ".join(f"{counts[state]} {state}" for state in ("ok", "warning", "problem") if counts[state]))
        if written:
            output.say((f"wrote {written}", output.GOOD), ": look into it before you pass it on")
    if any(one.unreachable for one in found):
        raise typer.Exit(ExitCode.UNREACHABLE)
    if not all(one.is_sound for one in diagnoses):
        raise typer.Exit(ExitCode.FINDINGS)


def _begin(destination: DestinationSettings) -> None:
    output.show((f"{destination.name}: ", "bold"), f"{destination.place} (mode {destination.mode})")


def _show(one: Diagnosis) -> None:
    output.show("  ", (f"{one.state.value:<8} ", STYLES[one.state.value]), f"{one.step}: {one.text}")
    if one.is_sound:
        return
    if one.said:  # for these eyes alone: in no file, no log, no support bundle
        output.show(" " * 11, ("server: ", output.QUIET), f'"{one.said}"')
    if one.cause:
        output.show(" " * 11, ("cause: ", output.QUIET), one.cause)
    for fix in one.fixes:
        output.show(" " * 11, ("fix:   ", output.QUIET), fix)
