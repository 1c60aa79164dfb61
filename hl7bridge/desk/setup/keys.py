"""Signing keys: made in a file of their own, and shown by their public half alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.destinations import destination_of
from hl7bridge.destinations import keys
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject

if TYPE_CHECKING:
    from hl7bridge.config import Settings


class Algorithm(StrEnum):
    """A signature algorithm, and with it the kind of key."""

    ES384 = "ES384"
    RS384 = "RS384"


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was made. `kid`: its RFC 7638 thumbprint."""

    file: str
    algorithm: str
    kid: str

    def data(self) -> dict[str, Any]:
        """For JSON, as in `keys-generate/1`."""
        return asdict(self)


def generate(file: Path, algorithm: Algorithm = Algorithm.ES384, bits: int | None = None) -> MadeKey:
    """Make a key; its private half is written to a file that this user alone can read.

    bits  size of an RSA key, None = 3072
    Raises ConfigError where the file exists, and for `bits` of a key that is none of RSA; OSError.
    """
    if bits and algorithm is not Algorithm.RS384:
        raise ConfigError("is for RSA keys", key="--bits", advice="Leave it out, or add --algorithm RS384.")
    key = keys.generate("ec" if algorithm is Algorithm.ES384 else "rsa", bits or keys.RSA_DEFAULT)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        advice = "A key is never overwritten: choose another name."
        raise ConfigError("exists already", file=str(file), advice=advice) from None
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(key.pem())
    return MadeKey(str(file), key.algorithm, key.kid)


def key_set_of_files(files: Sequence[Path]) -> JsonObject:
    """The public key set (JWKS) of private keys (PEM). Raises ConfigError for a file that is none."""
    return keys.jwks(keys.load_file(file).public_jwk() for file in files)


def key_set(settings: Settings) -> JsonObject:
    """The public key set (JWKS) of all destinations, each key under the id by which its server knows it.

    Raises ConfigError where none signs with a key, or one can't be used.
    """
    found = [key for one in settings.destinations.values() for key in destination_of(one).public_keys()]
    if not found:
        problem = "no destination signs with a key"
        raise ConfigError(problem, file="conf/destinations", advice="Name a FILE instead, or a key in [auth].")
    return keys.jwks(found)
