"""`hl7bridge doctor`: looks at FHIR servers as deliveries would use them, and says in plain words what is wrong and why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.assemble.choosing import fhir_servers
from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError, Hl7BridgeError

if TYPE_CHECKING:
    from hl7bridge.cli.setup.diagnosis import Words
    from hl7bridge.config import FhirSettings, Settings
    from hl7bridge.destinations.fhir.examine.reach import Check

DAY = 86400
STYLES = {"ok": output.GOOD, "warning": "yellow", "problem": output.BAD, "skipped": output.QUIET}
_OUT_OF_REACH = frozenset({"metadata-unreachable", "token-unreachable", "search-unreachable"})

NpiOption = Annotated[str, typer.Option("--npi", metavar="NPI", help="The NPI of somebody who is known to be there.")]


@dataclass(slots=True)
class Examined:
    """A destination and what was found there."""

    destination: FhirSettings
    checks: list[tuple[Check, Words]] = field(default_factory=list)

    @property
    def out_of_reach(self) -> bool:
        """Whether the server, or its token endpoint, can't be spoken to at all."""
        return any(
            check.state == "problem"
            and (check.subject in ("address", "connection", "tls") or check.code in _OUT_OF_REACH)
            for check, _ in self.checks
        )

    def as_json(self) -> dict[str, Any]:
        """As in `doctor/1`."""
        from hl7bridge.cli.setup.diagnosis import as_json

        return {
            "name": self.destination.name,
            "mode": str(self.destination.mode),
            "checks": [as_json(check, said) for check, said in self.checks],
        }


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
    """Examine the FHIR servers: what works, what does not, why, and what to do about it.

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

    settings = load(config)
    if npi:
        check_npi(npi)
    sqlite = sqlite_check()
    if not as_json:
        output.show(("this installation:", "bold"))
        _show(*sqlite)
    found = [Examined(one) for one in fhir_servers(settings, destination)]
    if bundle is not None and bundle.exists():
        raise ConfigError("exists already", file=str(bundle), advice="Choose another name.")
    for examined in found:
        if not as_json:
            address = f"{examined.destination.base_url} (mode {examined.destination.mode})"
            output.show((f"{examined.destination.name}: ", "bold"), address)
        for check, said in (*examine(examined.destination, npi), *index_lag(settings, examined.destination)):
            examined.checks.append((check, said))
            if not as_json:
                _show(check, said)
    if bundle is not None:
        from hl7bridge.cli.setup.support import write_bundle

        write_bundle(bundle, settings, [one.as_json() for one in found], keep_hosts=keep_hosts, log_lines=log_lines)
    _conclude(found, sqlite, bundle, as_json)


def check_npi(npi: str) -> None:
    """Raises ConfigError for what can be no NPI: ten digits, the last one a Luhn check digit over 80840 and the rest."""
    digits = [int(character) for character in "80840" + npi if character in "0123456789"]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    if len(npi) != 10 or len(digits) != 15 or sum(doubled) % 10:
        raise ConfigError("is no NPI", key="--npi", advice="An NPI has ten digits, the last of them a check digit.")


def sqlite_check() -> tuple[Check, Words]:
    """Whether the store runs on a SQLite that may lose a commit (see store/sqlite/driver.py)."""
    from hl7bridge.cli.setup.diagnosis import words
    from hl7bridge.destinations.fhir.examine.reach import Check, State
    from hl7bridge.store.sqlite import driver

    facts = {"library": driver.in_words(), "problem": driver.RACE, "advice": driver.CURE}
    state, code = (State.OK, "sqlite") if driver.SAFE else (State.WARNING, "sqlite-race")
    check = Check("store", state, code, facts)
    return check, words(check, "", "")


def examine(destination: FhirSettings, npi: str = "") -> Iterator[tuple[Check, Words]]:
    """All checks of one destination with their words."""
    from hl7bridge.cli.setup.diagnosis import words

    for check in _checks(destination, npi):
        yield check, words(check, destination.name, destination.file)


def index_lag(settings: Settings, destination: FhirSettings) -> Iterator[tuple[Check, Words]]:
    """How far the server's searches lag behind, as this bridge's own creates have shown; nothing where none was measured."""
    from hl7bridge.assemble.destinations import destination_rules
    from hl7bridge.cli import stored
    from hl7bridge.cli.setup.diagnosis import words
    from hl7bridge.destinations.fhir.examine.reach import Check, State
    from hl7bridge.service.outbound.second_looks import effective_lag

    try:
        with stored.opened(settings) as store:
            measured = store.index_lag(destination.name)
            waits = effective_lag(store, destination_rules(destination))
    except Hl7BridgeError:
        return  # there is no store yet, or what is wrong with it is told elsewhere
    if measured is None:
        return
    facts = {"latest": round(measured.latest, 1), "longest": round(measured.longest, 1), "waits": round(waits)}
    slow = measured.longest > destination.index_lag
    check = Check("index", State.WARNING if slow else State.OK, "index-slow" if slow else "index-lag", facts)
    yield check, words(check, destination.name, destination.file)


def _checks(destination: FhirSettings, npi: str) -> Iterator[Check]:
    from hl7bridge.assemble.authorization import signing_key, smart_rules, trust
    from hl7bridge.assemble.destinations import destination_rules
    from hl7bridge.destinations.fhir.examine.probe import ServerToProbe, probe
    from hl7bridge.destinations.fhir.examine.reach import Check, State

    key = None
    try:
        trust(destination)
    except ConfigError as error:
        yield Check("tls", State.PROBLEM, "key-unusable", {"problem": error.problem, "advice": error.advice})
        return
    try:
        key = signing_key(destination)
    except ConfigError as error:
        place = f"{error.key}: " if error.key else ""
        facts = {"problem": place + error.problem, "advice": error.advice or "Correct it."}
        yield Check("key", State.PROBLEM, "key-unusable", facts)
    else:
        yield from _key_checks(destination, key)
    smart = smart_rules(destination) if destination.auth.type == "smart" else None
    yield from probe(ServerToProbe(destination_rules(destination), smart, key, npi))


def _key_checks(destination: FhirSettings, key: Any) -> Iterator[Check]:
    from hl7bridge.cli.setup.check import key_is_old
    from hl7bridge.destinations.fhir.examine.reach import Check, State

    reference, now = destination.auth.key, time.time()
    if key is None or reference is None:
        yield Check("key", State.OK, "no-auth")
        return
    facts: dict[str, Any] = {"algorithm": key.algorithm, "kid": destination.auth.key_id or key.kid}
    age = reference.age(now)
    if age is None:
        yield Check("key", State.OK, "key-undated", facts)
    else:
        facts |= {"age": int(age // DAY), "limit": f"{destination.auth.key_max_age / DAY:g}"}
        old = key_is_old(destination, now)
        yield Check("key", State.WARNING if old else State.OK, "key-old" if old else "key", facts)
    if exposure := reference.exposure():
        yield Check("key", State.WARNING, "key-exposed", {"problem": exposure})


def _show(check: Check, said: Words) -> None:
    output.show("  ", (f"{check.state.value:<8} ", STYLES[check.state.value]), f"{check.subject}: {said.line}")
    if check.state.value not in ("problem", "warning"):
        return
    if explanation := check.facts.get("explanation"):  # for these eyes alone: in no file, no log, no support bundle
        output.show(" " * 11, ("server: ", output.QUIET), f'"{explanation}"')
    if said.cause:
        output.show(" " * 11, ("cause: ", output.QUIET), said.cause)
    for fix in said.fixes:
        output.show(" " * 11, ("fix:   ", output.QUIET), fix)


def _conclude(found: list[Examined], sqlite: tuple[Check, Words], bundle: Path | None, as_json: bool) -> None:
    from hl7bridge.cli.setup import diagnosis

    checks = [sqlite, *(one for examined in found for one in examined.checks)]
    if as_json:
        written = str(bundle) if bundle is not None else ""
        installation = [diagnosis.as_json(*sqlite)]
        destinations = [one.as_json() for one in found]
        output.show_json("doctor/1", {"bundle": written, "installation": installation, "destinations": destinations})
    else:
        counts = Counter(check.state.value for check, _ in checks)
        output.say(", ".join(f"{counts[state]} {state}" for state in ("ok", "warning", "problem") if counts[state]))
        if bundle is not None:
            output.say((f"wrote {bundle}", output.GOOD), ": look into it before you pass it on")
    if any(one.out_of_reach for one in found):
        raise typer.Exit(ExitCode.UNREACHABLE)
    if any(check.state in ("problem", "warning") for check, _ in checks):
        raise typer.Exit(ExitCode.FINDINGS)
