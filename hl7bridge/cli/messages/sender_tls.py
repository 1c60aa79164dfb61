"""TLS on the sending end: whom it trusts, and the certificate that it shows."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.errors import ConfigError

TlsOption = Annotated[bool, typer.Option("--tls", help="Speak TLS; the listener's certificate is checked.")]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="TLS: the authorities that are trusted (PEM), instead of the system's."),
]
CertOption = Annotated[
    Path | None, typer.Option("--cert", metavar="FILE", help="TLS: the certificate that is shown (PEM).")
]
KeyOption = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="TLS: its private key (PEM).")]


@dataclass(frozen=True, slots=True)
class SenderTls:
    """Whom to trust, and what to show. `ca` None: the authorities that the system trusts."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def asked(cls, tls: bool, ca: Path | None, cert: Path | None, key: Path | None) -> SenderTls | None:
        """What the options ask for; None: no TLS. Raises ConfigError for one that has no effect."""
        if tls:
            return cls(ca, cert, key)
        for name, given in (("--ca", ca), ("--cert", cert), ("--key", key)):
            if given is not None:
                raise ConfigError("has no effect without --tls", key=name, advice="Add --tls.")
        return None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, and the name of the host is checked. Raises ConfigError for a file that can't be used."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        except (OSError, ssl.SSLError):
            raise ConfigError("can't be used", key="--ca", advice="Name a PEM file of certificates.") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.key is not None and self.cert is None:
            raise ConfigError("is given without --cert", key="--key", advice="Name the certificate of the key, too.")
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key, password="")
            except (OSError, ssl.SSLError):
                advice = "Name PEM files of a certificate and its private key, without a pass phrase."
                raise ConfigError("can't be used", key="--cert", advice=advice) from None
        return context


def in_words(error: ssl.SSLError) -> str:
    """What went wrong with TLS, such as `certificate verify failed: unable to get local issuer certificate`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    reason = (error.reason or "the connection was lost").lower().replace("_", " ")
    return reason.replace("tlsv1 alert ", "it refused us: ").replace("tlsv13 alert ", "it refused us: ")
