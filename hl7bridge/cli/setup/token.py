"""`hl7bridge token test`: can this machine get an access token, and what does it allow? The token itself is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption

if TYPE_CHECKING:
    from hl7bridge.desk.setup.asking import TokenAnswer

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, add_completion=False, help="Try the authorization of destinations."
)


@app.callback()
def token() -> None:
    """Try the authorization of destinations."""


@app.command("test")
def try_tokens(
    destination: Annotated[str, typer.Argument(metavar="[DESTINATION]", help="Its name; all when left out.")] = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Get an access token: what it allows, and for how long. The token is neither printed nor kept.

    \b
      hl7bridge token test
      hl7bridge token test ehr --config /srv/hl7bridge

    Ends with 1 when a scope was not granted, with 3 when there is no token; then the likely causes are listed.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.setup import asking

    answers = []
    for answer in asking.try_tokens(load(config), destination):
        answers.append(answer)
        if not as_json:
            _show(answer)
    if as_json:
        output.show_json("token-test/1", {"destinations": [answer.data() for answer in answers]})
    elif not answers:
        output.say("No destination asks for a token.")
    if any(answer.error for answer in answers):
        raise typer.Exit(ExitCode.UNREACHABLE)
    if any(answer.missing_scopes for answer in answers):
        raise typer.Exit(ExitCode.FINDINGS)


def _show(answer: TokenAnswer) -> None:
    name = answer.destination
    if answer.error:
        output.say(f"{name}: ", ("no token: ", output.BAD), answer.error)
        if answer.said:
            output.say(f'  the server says: "{answer.said}"')
        output.say(f"  asked as {answer.client_id} at {answer.token_url or 'an endpoint not yet known'}")
        output.say("  Likely causes:")
        for cause in answer.likely_causes:
            output.say(f"  - {cause}")
        return
    output.show(f"{name}: ", ("a token", output.GOOD), f" for {answer.seconds} s from {answer.token_url}")
    output.show(f"  granted: {' '.join(answer.granted_scopes) or 'the server does not say'}")
    if wide := " ".join(answer.too_wide_scopes):
        output.show("  ", ("far beyond need: ", "yellow"), wide)
    if answer.missing_scopes:
        output.show("  ", ("not granted: ", output.BAD), " ".join(answer.missing_scopes))
