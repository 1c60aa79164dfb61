"""What a listener speaks TLS by: its certificate and key, whom it trusts, and who may send as whom. Read from the files that
the feed's settings name, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hl7bridge.config import Feed
from hl7bridge.errors import ConfigError
from hl7bridge.intake.senders import Senders

TELL_BEFORE = (30, 14, 7, 1)  # days before a certificate ends at which it is told


@dataclass(frozen=True, slots=True)
class Certificates:
    """The material of one listener.

    chain        its own certificate, and those between it and its authority
    key          the private key of its own
    client_ca    the authorities whose certificates senders must show; () = none is asked for
    minimum      the oldest version of TLS that is spoken: "1.2" or "1.3"
    peers        name of a certificate (see `names_of`) -> what it may send; empty = whatever it likes
    files        where all of it was read
    """

    chain: tuple[x509.Certificate, ...]
    key: Any = field(repr=False, compare=False)
    client_ca: tuple[x509.Certificate, ...] = ()
    minimum: str = "1.2"
    peers: Mapping[str, Senders] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def senders(self, names: Iterable[str]) -> Senders | None:
        """What a peer whose certificate has these names may send; None: whatever it likes."""
        if not self.peers:
            return None
        return Senders.of_all(self.peers[name] for name in names if name in self.peers)

    @property
    def expires(self) -> float:
        """When the first of its chain ends, in Unix seconds."""
        return min(one.not_valid_after_utc.timestamp() for one in self.chain)

    def days_left(self, now: float) -> float:
        """Until its certificate ends; `now` in Unix seconds."""
        return (self.expires - now) / 86400.0


def certificates_of(feed: Feed) -> Certificates | None:
    """Read and check what `listener.tls` names; None where the listener speaks no TLS.

    Raises ConfigError: a file is missing or holds something else, or the key is not the certificate's.
    """
    given = feed.listener.tls
    if given.certificate is None:
        for key in ("key", "client_ca", "peers"):
            if getattr(given, key):
                raise _wrong(feed, "certificate", f"is not set, so that {key} has no effect", "Name the PEM file.")
        return None
    if given.key is None:
        raise _wrong(feed, "key", "is not set", 'Write "file:PATH" of the private key.')
    if given.peers and given.client_ca is None:
        raise _wrong(
            feed,
            "client_ca",
            "is not set, so that no sender shows a certificate that peers could name",
            "Name the PEM file.",
        )
    chain = _read(feed, "certificate", given.certificate)
    key = _key_of(feed, given.key.read(), chain[0])
    trusted = _read(feed, "client_ca", given.client_ca) if given.client_ca else ()
    peers = {_name(name): Senders.written(senders) for name, senders in given.peers.items()}
    paths = (given.certificate, given.key.path, given.client_ca)
    files = tuple(path for path in paths if path is not None)
    return Certificates(chain, key, trusted, given.minimum, peers, files)


def refuse_the_clear(feed: Feed) -> None:
    """Raises ConfigError for MLLP without TLS with other machines that nobody has allowed."""
    if feed.listener.in_the_clear:
        problem = "is not set: messages from other machines would be readable on the way, and anybody could send them"
        advice = 'Set listener.tls, or write plain = "allow" where a tunnel or a network of its own protects them.'
        raise ConfigError(problem, file=feed.file, key="listener.plain", advice=advice)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names by which `listener.tls.peers` may know a certificate, in lower case: its fingerprint, the names of its
    subject (CN), and its alternative names (DNS, address, URI, e-mail)."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    names = [f"sha256:{hashlib.sha256(der).hexdigest()}"]
    for attribute in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        names.append(f"cn:{attribute.value!s}")
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternatives = x509.SubjectAlternativeName([])
    kinds = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress)
    names += [f"san:{one.value}" for one in alternatives if isinstance(one, kinds)]
    return tuple(name.lower() for name in names)


def warning(days: float) -> str:
    """How near the end of a certificate is, in words; "" while it is more than 30 days away."""
    if days <= 0:
        return "has expired: senders refuse it"
    return f"ends in {days:.0f} days" if days <= TELL_BEFORE[0] else ""


def _name(text: str) -> str:
    kind, _, name = text.partition(":")
    return f"{kind.lower()}:{name.replace(':', '') if kind.lower() == 'sha256' else name}".lower()


def _read(feed: Feed, key: str, path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except OSError as error:
        reason = (error.strerror or "not possible").lower()
        raise _wrong(feed, key, f"can't be read ({reason})", "Name a PEM file that is there.") from None
    except ValueError:
        raise _wrong(feed, key, "holds no certificate", "Name a PEM file with BEGIN CERTIFICATE.") from None


def _key_of(feed: Feed, pem: bytes, certificate: x509.Certificate) -> Any:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise _wrong(
            feed, "key", "is no private key without a pass phrase", "Give the PEM file of the key, unencrypted."
        ) from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise _wrong(feed, "key", "is not the key of the certificate", "Name the two files that belong together.")
    return key


def _wrong(feed: Feed, key: str, problem: str, advice: str) -> ConfigError:
    return ConfigError(problem, file=feed.file, key=f"listener.tls.{key}", advice=advice)
