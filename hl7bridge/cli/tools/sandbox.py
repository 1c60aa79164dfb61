"""`hl7bridge sandbox`: the embedded FHIR server as a process of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hl7bridge.errors import ConfigError, Hl7BridgeError
from hl7bridge.sandbox import (
    ALL_SCOPES,
    BASE_PATH,
    PROFILES,
    TOKEN_PATH,
    Client,
    Fault,
    Habits,
    SandboxSettings,
    create_app,
)
from hl7bridge.sandbox.habits import FAULTS

USAGE_ERROR = 2


_HABIT_NAMES = ", ".join(Habits().as_json())
_FAULT_NAMES = ", ".join(FAULTS)


def sandbox(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 lets the system choose one.", min=0, max=65535)] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Keep the resources in this folder, through restarts; else in memory.")
    ] = None,
    journal: Annotated[Path | None, typer.Option(help="Append one JSON line for each request to this file.")] = None,
    auth: Annotated[bool, typer.Option(help="Whether an access token is needed.")] = True,
    client_id: Annotated[str, typer.Option(help="The client that may ask for tokens.")] = "hl7bridge",
    client_jwks: Annotated[
        Path | None,
        typer.Option(help="Its public keys (JWKS); read at each request, so that a changed file rotates the key."),
    ] = None,
    scope: Annotated[str, typer.Option(help="What its tokens may be allowed, space-separated.")] = ALL_SCOPES,
    audience: Annotated[
        str, typer.Option(help="What `aud` of an assertion must be; else the URL of the token endpoint.")
    ] = "",
    profile: Annotated[
        str, typer.Option(help="The habits to start from: plain, or epic (opaque ids, no writes, few words).")
    ] = "plain",
    habit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help=f"A lasting habit; may be repeated. Habits: {_HABIT_NAMES}."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="JSON",
            help='A fault, e.g. {"kind": "status", "on": ["write"], "status": 503, "times": 3}; may be repeated. '
            f"Faults: {_FAULT_NAMES}.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Requests that are worked on at once.", min=1)] = 16,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="End when standard input is closed, as by a parent's end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as one line of JSON.")] = False,
) -> None:
    """Run a FHIR R4 server to try with: Practitioner and PractitionerRole, and an OAuth token endpoint.

    \b
      hl7bridge sandbox --port 8480 --no-auth               the destination that `hl7bridge init` writes
      hl7bridge sandbox --client-jwks jwks.json             with tokens for the keys of `hl7bridge keys jwks`
      hl7bridge sandbox --no-auth --profile epic --habit version_conflict=412

    For trying things out and for tests, not for patients or staff of the real world. It ends on Ctrl-C or SIGTERM.
    Habits and faults can also be changed while it runs: POST /sandbox/habits.

    Exit codes: 0 ended as asked, 2 a setting is wrong.
    """
    # Twisted's reactor is installed by this import: not before the command is chosen.
    from hl7bridge.service.web import serve

    try:
        settings = _settings(data, journal, auth, client_id, client_jwks, scope, audience, profile, habit, fault)
        try:
            app = create_app(settings)
        except OSError as error:
            raise ConfigError(error.strerror or "cannot be used", file=str(error.filename)) from None

        def ready(bound: int) -> None:
            _announce(f"http://{_in_url(host)}:{bound}", bound, auth, as_json)

        running = app.extensions["sandbox"]
        serve(
            app,
            host=host,
            port=port,
            threads=threads,
            ready=ready,
            stopping=running.end_waits,
            until=sys.stdin.fileno() if until_stdin_closes else None,
        )
        running.close()
    except Hl7BridgeError as error:
        typer.echo(f"hl7bridge sandbox: {error}", err=True)
        raise typer.Exit(USAGE_ERROR) from None


def _settings(
    data: Path | None,
    journal: Path | None,
    auth: bool,
    client_id: str,
    client_jwks: Path | None,
    scope: str,
    audience: str,
    profile: str,
    habits: list[str] | None,
    faults: list[str] | None,
) -> SandboxSettings:
    if profile not in PROFILES:
        raise ConfigError("no such profile", key="--profile", advice=f"Use one of {', '.join(PROFILES)}")
    clients: tuple[Client, ...] = ()
    if client_jwks is not None:
        client = Client(client_id, client_jwks, scope)
        # Fails now, not at the first request, when the file is no JWKS.
        client.key("")
        clients = (client,)
    elif auth:
        raise ConfigError(
            "is needed to check tokens",
            key="--client-jwks",
            advice="Make a key with `hl7bridge keys generate`, or start with --no-auth",
        )
    return SandboxSettings(
        auth=auth,
        clients=clients,
        data=data,
        journal=journal,
        audience=audience,
        habits=_habits(PROFILES[profile], habits or []),
        faults=tuple(_fault(text) for text in faults or []),
    )


def _habits(start: Habits, texts: list[str]) -> Habits:
    pairs = [text.partition("=") for text in texts]
    return start.changed({name.strip(): value.strip() for name, _, value in pairs})


def _fault(text: str) -> Fault:
    try:
        read: Any = json.loads(text)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise ConfigError("not a JSON object", key="--fault")
    return Fault.from_json(read)


def _in_url(host: str) -> str:
    """How a host stands in a URL; a server on all addresses is reached here by loopback."""
    if host in ("", "0.0.0.0"):  # noqa: S104
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _announce(origin: str, port: int, auth: bool, as_json: bool) -> None:
    where = {"base_url": origin + BASE_PATH, "token_url": origin + TOKEN_PATH if auth else ""}
    if as_json:
        typer.echo(json.dumps({**where, "control_url": f"{origin}/sandbox", "port": port, "pid": os.getpid()}))
    else:
        typer.echo(f"FHIR base URL   {where['base_url']}")
        typer.echo(f"token endpoint  {where['token_url'] or 'none: no token is needed'}")
        typer.echo(f"levers          {origin}/sandbox/state, /journal, /habits")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(sandbox)
