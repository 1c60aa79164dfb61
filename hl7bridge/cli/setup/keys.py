"""`hl7bridge keys`: signing keys of SMART Backend Services. The private half stays in its file; only the public is shown."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, JsonOption
from hl7bridge.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Make signing keys, and show their public half.",
)


class Algorithm(StrEnum):
    """A signature algorithm, and with it the kind of key."""

    ES384 = "ES384"
    RS384 = "RS384"


@app.command()
def generate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key is written; it must not exist.")],
    algorithm: Annotated[Algorithm, typer.Option("--algorithm", help="ES384: EC P-384. RS384: RSA.")] = Algorithm.ES384,
    bits: Annotated[
        int | None,
        typer.Option("--bits", metavar="N", help="Size of an RSA key; 3072 when left out.", min=2048, max=8192),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a signing key: its private half is written to a file that only you can read.

    \b
      hl7bridge keys generate keys/ehr.pem
      hl7bridge keys generate keys/ehr.pem --algorithm RS384
      hl7bridge keys jwks keys/ehr.pem            then: what the server's owner needs

    Name the file in conf/destinations: key = "file:keys/ehr.pem" in [auth].
    """
    from hl7bridge.destinations.fhir.wire import keys

    if bits and algorithm is not Algorithm.RS384:
        raise ConfigError("is for RSA keys", key="--bits", advice="Leave it out, or add --algorithm RS384.")
    key = keys.generate("ec" if algorithm is Algorithm.ES384 else "rsa", bits or 3072)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        advice = "A key is never overwritten: choose another name."
        raise ConfigError("exists already", file=str(file), advice=advice) from None
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(key.pem())
    if as_json:
        output.show_json("keys-generate/1", {"file": str(file), "algorithm": key.algorithm, "kid": key.kid})
        return
    output.show((f"wrote {file}", output.GOOD), f"  {key.algorithm}, kid {key.kid}")
    output.say(f"Register its public half at the server: hl7bridge keys jwks {file}")
    algorithm_line = "" if algorithm is Algorithm.ES384 else f', algorithm = "{algorithm}"'
    output.say(f'In conf/destinations, [auth]: type = "smart", client_id, key = "file:{file}"{algorithm_line}')


@app.command()
def jwks(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]", help="Private keys (PEM).")] = None,
    config: ConfigOption = Path(),
) -> None:
    """Print the public key set (JWKS): what to register at the FHIR server, or to publish where it looks.

    \b
      hl7bridge keys jwks keys/ehr.pem > jwks.json
      hl7bridge keys jwks keys/old.pem keys/new.pem      both, while a new key takes over
      hl7bridge keys jwks                                the keys of all destinations in conf/

    Nothing that is printed is secret. Servers keep a key set for up to a day: publish a new key well before it signs.
    """
    from hl7bridge.destinations.fhir.wire import keys

    if files:
        found = [keys.load_file(file) for file in files]
    else:
        from hl7bridge.config import load

        references = [destination.auth.key for destination in load(config).fhir.values() if destination.auth.key]
        if not references:
            raise ConfigError("no destination names a key", file="conf/destinations", advice="Name a FILE instead.")
        found = [keys.load(reference.read(), source=reference.file) for reference in references]
    unique = {key.kid: key for key in found}
    sys.stdout.write(json.dumps(keys.jwks(list(unique.values())), indent=2) + "\n")
