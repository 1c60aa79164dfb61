"""Who decides: the account of the operating system that runs the command, for the history."""

from __future__ import annotations

import getpass
import os
from typing import Annotated

import typer

from hl7bridge.desk.deciding import COMMAND_LINE, Actor

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")]


def account() -> str:
    """The account's name as the system knows it, whatever the environment says: `root (sudo: ana)` behind sudo."""
    try:
        import pwd

        user = os.getuid()
        try:
            name = pwd.getpwuid(user).pw_name
        except KeyError:
            name = str(user)
    except ImportError:  # Windows
        return getpass.getuser()
    behind = os.environ.get("SUDO_USER", "") if user == 0 else ""
    return f"{name} (sudo: {behind})" if behind else name


def actor() -> Actor:
    """The account that runs this command."""
    return Actor(account(), COMMAND_LINE)
