"""Signing keys of SMART Backend Services: made, read, and shown as a public JSON Web Key.

Two kinds, the two that every SMART server must take: EC P-384 (ES384, the default) and RSA of 2048 bits or more (RS384).
The private part leaves this module as PEM only, by `pem`; `repr` of a key shows its thumbprint.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject

RSA_SMALLEST = 2048
RSA_DEFAULT = 3072

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with what a server must know of it. `algorithm`: "ES384" or "RS384"; `kid`: RFC 7638 thumbprint."""

    private: PrivateKey = field(repr=False)
    algorithm: str
    kid: str

    def public_jwk(self, key_id: str = "") -> JsonObject:
        """The public key as a JSON Web Key (RFC 7517) for signing. `key_id` replaces the thumbprint as `kid`."""
        return {**_public_numbers(self.private), "kid": key_id or self.kid, "alg": self.algorithm, "use": "sig"}

    def pem(self, password: bytes | None = None) -> bytes:
        """The private key as PKCS #8 PEM, encrypted where a password is given. Keep it where only the service reads."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password)
        return self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def generate(kind: str = "ec", bits: int = RSA_DEFAULT) -> SigningKey:
    """A new key: "ec" (P-384) or "rsa" with `bits` (2048 or more). Raises ConfigError for anything else."""
    if kind == "ec":
        return _signing_key(ec.generate_private_key(ec.SECP384R1()), "")
    if kind != "rsa":
        raise ConfigError("not a kind of key", key="kind", advice="Choose ec or rsa")
    if bits < RSA_SMALLEST:
        raise ConfigError(f"an RSA key needs {RSA_SMALLEST} bits or more", key="bits")
    return _signing_key(rsa.generate_private_key(public_exponent=65537, key_size=bits), "")


def load(pem: bytes, *, source: str = "", password: bytes | None = None) -> SigningKey:
    """Read a private key. `source` is named in errors.

    Raises ConfigError: no private key in PEM form, password missing or wrong, wrong kind, too small.
    """
    try:
        private = serialization.load_pem_private_key(pem, password)
    except TypeError:
        problem = "the private key is encrypted" if password is None else "a password was given, the key has none"
        raise ConfigError(problem, file=source, advice="Set the key's password accordingly") from None
    except (ValueError, UnsupportedAlgorithm):
        if password is not None:
            raise ConfigError("the private key or its password cannot be read", file=source) from None
        raise ConfigError(_what_it_is(pem), file=source, advice="Make one with: hl7bridge keys generate") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ConfigError("the key is neither EC P-384 nor RSA", file=source, advice=_ADVICE)
    return _signing_key(private, source)


def load_file(path: Path, *, password: bytes | None = None) -> SigningKey:
    """Read a private key from a file. Raises ConfigError, also where the file cannot be read."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise ConfigError(f"the key file cannot be read ({reason})", file=str(path)) from None
    return load(pem, source=str(path), password=password)


def jwks(keys: Iterable[JsonObject]) -> JsonObject:
    """The JSON Web Key Set of public keys, each `kid` once: what to register at the server, or to publish."""
    return {"keys": list({key["kid"]: key for key in keys}.values())}


def thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638: base64url of SHA-256 over the required members in order."""
    members = {name: jwk[name] for name in (("crv", "kty", "x", "y") if jwk["kty"] == "EC" else ("e", "kty", "n"))}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode("ascii")
    return _base64url(hashlib.sha256(canonical).digest())


_ADVICE = "Make one with: hl7bridge keys generate"


def _signing_key(private: PrivateKey, source: str) -> SigningKey:
    if isinstance(private, ec.EllipticCurvePrivateKey):
        if not isinstance(private.curve, ec.SECP384R1):
            raise ConfigError("the EC key is not on curve P-384", file=source, advice=_ADVICE)
        algorithm = "ES384"
    else:
        if private.key_size < RSA_SMALLEST:
            raise ConfigError(f"the RSA key has fewer than {RSA_SMALLEST} bits", file=source, advice=_ADVICE)
        algorithm = "RS384"
    return SigningKey(private, algorithm, thumbprint(_public_numbers(private)))


def _public_numbers(private: PrivateKey) -> dict[str, str]:
    """RFC 7518, 6.2.1 and 6.3.1: EC coordinates have the curve's full length, RSA numbers their own."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        point = private.public_key().public_numbers()
        size = (private.curve.key_size + 7) // 8
        return {"kty": "EC", "crv": "P-384", "x": _number(point.x, size), "y": _number(point.y, size)}
    modulus = private.public_key().public_numbers()
    return {
        "kty": "RSA",
        "n": _number(modulus.n, (modulus.n.bit_length() + 7) // 8),
        "e": _number(modulus.e, (modulus.e.bit_length() + 7) // 8),
    }


def _number(value: int, size: int) -> str:
    return _base64url(value.to_bytes(size, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _what_it_is(pem: bytes) -> str:
    """The usual mistakes have a name of their own."""
    if b"-----BEGIN CERTIFICATE-----" in pem:
        return "holds a certificate, not a private key"
    if b"-----BEGIN PUBLIC KEY-----" in pem:
        return "holds a public key, not a private key"
    return "holds no private key in PEM form"
