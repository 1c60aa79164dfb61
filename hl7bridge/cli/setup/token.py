"""`hl7bridge token test`: can this machine get an access token, and what does it allow? The token itself is never shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError, TokenError

if TYPE_CHECKING:
    from hl7bridge.config import FhirSettings
    from hl7bridge.destinations.fhir.wire.smart_auth import TokenSource

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, add_completion=False, help="Try the authorization of destinations."
)

# Why token endpoints refuse, most frequent first. They hardly ever say which of these it was.
_CLIENT = (
    "the client id is another environment's (production and test have different ones)",
    "the public key is not registered there, or not yet: servers keep key sets for up to a day (hl7bridge keys jwks)",
    "kid or algorithm differ from the registered key's",
    "the client is registered, but not yet active (it can take hours), or not tied to a user of that system",
    "this machine's clock is off by more than a few minutes",
    "the server expects another aud, as behind a proxy: set auth.audience",
)
_SCOPE = ("the client was not granted one of the scopes: compare them with its registration",)
_ADDRESS = (
    "token_url is wrong: leave it empty to have it discovered, or ask the server's owner",
    "base_url is not the FHIR base: its .well-known/smart-configuration is not there",
)
_NETWORK = (
    "nothing answers there: the address is wrong, the server is down, or a firewall or proxy is in between",
    "the server's certificate is not trusted here: set ca_file",
)
_LATER = ("the server has trouble, or was asked too often: try again later",)


def likely_causes(error: TokenError) -> tuple[str, ...]:
    """What usually is behind it, most likely first."""
    if "invalid_scope" in str(error):
        return _SCOPE
    if not error.status and not error.permanent:
        return _NETWORK
    if error.status in (404, 405, 410) or 300 <= error.status < 400 or "configuration" in str(error):
        return _ADDRESS
    if error.status in (408, 425, 429) or error.status >= 500:
        return _LATER
    if error.status >= 400:
        return _CLIENT
    return _ADDRESS


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
    from hl7bridge.assemble.authorization import token_source
    from hl7bridge.config import load

    settings = load(config)
    if destination and destination not in settings.destinations:
        known = ", ".join(settings.destinations)
        raise ConfigError("no such destination", key=destination, advice=f"There are: {known}.")
    results: list[dict[str, Any]] = []
    for name, found in settings.fhir.items():
        if destination in ("", name) and (source := token_source(found)) is not None:
            result, explanation = _try(found, source)
            results.append(result)
            if not as_json:
                _show(result, explanation)
    if as_json:
        output.show_json("token-test/1", {"destinations": results})
    elif not results:
        output.say("No destination asks for a token: auth.type is none.")
    if any(result["error"] for result in results):
        raise typer.Exit(ExitCode.UNREACHABLE)
    if any(result["missing_scopes"] for result in results):
        raise typer.Exit(ExitCode.FINDINGS)


def _try(destination: FhirSettings, source: TokenSource) -> tuple[dict[str, Any], str]:
    """The result as a document, and the server's own words, which are for the terminal alone."""
    from hl7bridge.destinations.fhir.examine.authorizing import too_wide

    explanation = ""
    result: dict[str, Any] = {
        "destination": destination.name,
        "client_id": destination.auth.client_id,
        "token_url": destination.auth.token_url,
        "seconds": 0,
        "granted_scopes": [],
        "missing_scopes": [],
        "too_wide_scopes": [],
        "error": "",
        "likely_causes": [],
    }
    try:
        result["token_url"] = source.discover().token_endpoint
        granted = source.token()
        result["seconds"] = round(granted.expires - time.monotonic())
        result["granted_scopes"] = (granted.scope or "").split()
        result["too_wide_scopes"] = list(too_wide(source.scopes(), tuple(result["granted_scopes"])))
        result["missing_scopes"] = list(source.missing_scopes(granted.scope))
    except TokenError as error:
        explanation = error.explanation
        result["error"] = str(error)
        result["likely_causes"] = [*_proven(destination, error), *likely_causes(error)]
    finally:
        source.close()
    return result, explanation


def _proven(destination: FhirSettings, error: TokenError) -> tuple[str, ...]:
    """What trying shows to be the cause: the clock, or the audience (see `doctor`)."""
    from hl7bridge.assemble.authorization import signing_key, smart_rules
    from hl7bridge.destinations.fhir.examine.authorizing import TokenTrial
    from hl7bridge.destinations.fhir.examine.words import diagnosis

    key = signing_key(destination)
    if error.status < 400 or key is None:
        return ()
    seen = next(TokenTrial(smart_rules(destination), key, None, time.time).checks())
    if seen.code not in ("token-clock", "token-audience", "token-perhaps-clock"):
        return ()
    said = diagnosis(seen, destination.name, destination.file)
    return (f"{said.text.partition(': ')[2]} ({said.cause}). {said.fixes[0]}",)


def _show(result: dict[str, Any], explanation: str) -> None:
    name = result["destination"]
    if result["error"]:
        output.say(f"{name}: ", ("no token: ", output.BAD), result["error"])
        if explanation:
            output.say(f'  the server says: "{explanation}"')
        output.say(f"  asked as {result['client_id']} at {result['token_url'] or 'an endpoint not yet known'}")
        output.say("  Likely causes:")
        for cause in result["likely_causes"]:
            output.say(f"  - {cause}")
        return
    output.show(f"{name}: ", ("a token", output.GOOD), f" for {result['seconds']} s from {result['token_url']}")
    scopes = " ".join(result["granted_scopes"])
    output.show(f"  granted: {scopes or 'the server does not say'}")
    if wide := " ".join(result["too_wide_scopes"]):
        output.show("  ", ("far beyond need: ", "yellow"), wide)
    if result["missing_scopes"]:
        output.show("  ", ("not granted: ", output.BAD), " ".join(result["missing_scopes"]))
