"""Signing keys: made, read, and shown without their private part."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hl7bridge.destinations import keys
from hl7bridge.errors import ConfigError

EC = keys.generate()
RSA = keys.generate("rsa", 2048)


@pytest.mark.parametrize(("key", "algorithm"), [(EC, "ES384"), (RSA, "RS384")])
def test_a_signature_is_verified_with_the_exported_set(key: keys.SigningKey, algorithm: str) -> None:
    assert key.algorithm == algorithm
    exported = keys.jwks([key.public_jwk()])["keys"][0]
    assert exported["kid"] == key.kid == keys.thumbprint(exported)
    assert exported["alg"] == algorithm
    signed = jwt.encode({"a": 1}, key.private, algorithm=algorithm)
    assert jwt.decode(signed, jwt.PyJWK(exported).key, algorithms=[algorithm]) == {"a": 1}


@pytest.mark.parametrize("key", [EC, RSA])
def test_only_public_members_are_exported(key: keys.SigningKey) -> None:
    exported = key.public_jwk("own-id")
    assert exported["kid"] == "own-id"
    assert not exported.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}
    assert "PRIVATE" not in repr(key)
    assert str(key.private.private_numbers()) not in repr(key)


@pytest.mark.parametrize("key", [EC, RSA])
@pytest.mark.parametrize("password", [None, b"correct horse"])
def test_pem_there_and_back(key: keys.SigningKey, password: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(key.pem(password))
    assert keys.load_file(path, password=password).kid == key.kid


@pytest.mark.parametrize("key", [EC, RSA])
def test_the_thumbprint_is_rfc_7638s(key: keys.SigningKey) -> None:
    """The required members in lexicographic order, no white space (RFC 7638, 3.2 and 3.3)."""
    jwk = key.public_jwk()
    order = ("crv", "kty", "x", "y") if jwk["kty"] == "EC" else ("e", "kty", "n")
    text = "{" + ",".join(f'"{member}":"{jwk[member]}"' for member in order) + "}"
    digest = hashlib.sha256(text.encode()).digest()
    assert base64.urlsafe_b64decode(key.kid + "=") == digest


def pem_of(private: object) -> bytes:
    return private.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


PUBLIC = EC.private.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.mark.parametrize(
    ("pem", "password", "word"),
    [
        (b"", None, "no private key"),
        (b"not a key", None, "no private key"),
        (EC.pem()[:100], None, "no private key"),
        (PUBLIC, None, "public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None, "certificate"),
        (EC.pem(b"secret"), None, "encrypted"),
        (EC.pem(b"secret"), b"wrong", "password"),
        (EC.pem(), b"needless", "password"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), None, "P-384"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), None, "neither"),
        (pem_of(rsa.generate_private_key(65537, 1024)), None, "2048"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_usable_key(pem: bytes, password: bytes | None, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        keys.load(pem, source="conf/key.pem", password=password)
    assert caught.value.file == "conf/key.pem"
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        keys.load_file(tmp_path / "none.pem")


@pytest.mark.parametrize(("kind", "bits"), [("dsa", 3072), ("rsa", 1024)])
def test_keys_that_are_not_made(kind: str, bits: int) -> None:
    with pytest.raises(ConfigError):
        keys.generate(kind, bits)
