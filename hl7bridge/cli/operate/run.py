"""`hl7bridge run`: the service in the foreground; the Windows service and systemd run this same command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hl7bridge.cli.output import ConfigOption, ExitCode


def run(
    config: ConfigOption = Path(),
    role: Annotated[
        Literal["all", "listener", "delivery"],
        typer.Option(help="all = the listener, with delivery as its child process; or one of them alone."),
    ] = "all",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line when ready: pid, address of each feed, children.")
    ] = False,
    new_store: Annotated[
        bool,
        typer.Option("--new-store", help="Begin with an empty store although there was one, and its file is gone."),
    ] = False,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Take messages and deliver them, until Ctrl-C or SIGTERM.

    \b
      hl7bridge run                        the configuration in ./conf
      hl7bridge run -c /srv/hl7bridge      the one in /srv/hl7bridge/conf
      hl7bridge run --role listener        take messages, let another process deliver

    Stopping is orderly: nothing more is taken, what is owed is answered, deliveries that have begun end (stop_timeout).
    After a crash, start it again: what was acknowledged is on disk and goes on from there.
    """
    from hl7bridge.assemble.destinations import require
    from hl7bridge.config import load
    from hl7bridge.service import startup

    settings = load(config)
    if role != "listener":
        require(settings.destinations[name] for feed in settings.feeds.values() for name in feed.destinations)
    code = startup.run(settings, config, role=role, as_json=as_json, is_child=child, new_store=new_store)
    raise typer.Exit(code or ExitCode.GOOD)
