"""`hl7bridge keys`: signing keys of SMART Backend Services. The private half stays in its file; only the public is shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, JsonOption
from hl7bridge.desk.setup.keys import Algorithm

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Make signing keys, and show their public half.",
)


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
    from hl7bridge.desk.setup import keys

    made = keys.generate(file, algorithm, bits)
    if as_json:
        output.show_json("keys-generate/1", made.data())
        return
    output.show((f"wrote {file}", output.GOOD), f"  {made.algorithm}, kid {made.kid}")
    output.say(f"Register its public half at the server: hl7bridge keys jwks {file}")
    algorithm_line = "" if algorithm is Algorithm.ES384 else f', algorithm = "{algorithm}"'
    output.say(f'In conf/destinations, [auth]: type = "smart", client_id, key = "file:{file}"{algorithm_line}')


@app.command()
def jwks(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]", help="Private keys (PEM).")] = None,
    config: ConfigOption = Path(),
) -> None:
    """Print the public key set (JWKS): what to register at the destination, or to publish where it looks.

    \b
      hl7bridge keys jwks keys/ehr.pem > jwks.json
      hl7bridge keys jwks keys/old.pem keys/new.pem      both, while a new key takes over
      hl7bridge keys jwks                                the keys of all destinations in conf/

    Nothing that is printed is secret. Servers keep a key set for up to a day: publish a new key well before it signs.
    """
    from hl7bridge.desk.setup import keys

    if files:
        found = keys.key_set_of_files(files)
    else:
        from hl7bridge.config import load

        found = keys.key_set(load(config))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
