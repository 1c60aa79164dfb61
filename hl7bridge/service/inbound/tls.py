"""MLLP over TLS: the contexts of a listener, swapped while it runs, and a transport that passes half-closes on.

TLS 1.2 is the floor and 1.3 is taken where the sender can; a sender shows a certificate where `client_ca` is set. (RFC 9325;
IHE ITI TF-2, ITI-19)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from OpenSSL import SSL, crypto
from twisted.internet import threads
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from hl7bridge.assemble.certificates import (
    TELL_BEFORE,
    Certificates,
    certificates_of,
    names_of,
    refuse_the_clear,
    warning,
)
from hl7bridge.config import Feed
from hl7bridge.errors import ConfigError
from hl7bridge.service.log import Log

LOOK_EVERY = 30.0  # seconds between two looks at the files

_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; 1.3 has no others
_WHY = {
    9: "the sender's certificate is not valid yet",
    10: "the sender's certificate has expired",
    18: "the sender's certificate is not signed by client_ca",
    19: "the sender's certificate is not signed by client_ca",
    20: "the sender's certificate is not signed by client_ca",
    21: "the sender's certificate is not signed by client_ca",
}  # errors of X509_verify_cert


class _Secured(SSL.Connection):
    """An OpenSSL connection whose end of reading (close_notify) is no end of writing."""

    ended: Callable[[], None]
    why = ""  # its certificate is refused

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        try:
            return bytes(super().recv(bufsiz, flags))
        except SSL.ZeroReturnError:
            self.ended()
            raise SSL.WantReadError from None


@implementer(IHalfCloseableProtocol)
class SecuredTransport(TLSMemoryBIOProtocol):
    """The transport of a connection over TLS. Twisted's own ends the whole connection when the peer ends its side, by
    close_notify or FIN: answers that are still owed would be lost."""

    sender_ended = False
    write_ended = False

    @property
    def _tcp(self) -> Any:
        return self.transport

    @property
    def _tls(self) -> Any:
        return self.getHandle()  # type: ignore[no-untyped-call]

    def readConnectionLost(self) -> None:
        """The peer has ended its side: by a close_notify, a FIN, or both."""
        if self.sender_ended:
            return
        self.sender_ended = True
        if not self._handshakeDone:
            self._tcp.loseConnection()
            return
        self.wrappedProtocol.readConnectionLost()

    def loseWriteConnection(self) -> None:
        """End our side: close_notify, then FIN, behind all that was written."""
        self.write_ended = True
        self._say_goodbye()
        self._tcp.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """Our side is ended."""
        self.wrappedProtocol.writeConnectionLost()

    def loseConnection(self) -> None:
        """Close both sides; a peer that has ended its own is not waited for."""
        if not self.sender_ended or not self.connected:
            super().loseConnection()  # type: ignore[no-untyped-call]
            return
        if not self.write_ended:
            self._say_goodbye()
        self._tcp.loseConnection()

    def _say_goodbye(self) -> None:
        connection = self._tls
        try:
            connection.shutdown()
        except SSL.Error:
            return  # it is broken: there is nobody to say it to
        while True:
            try:
                self._tcp.write(connection.bio_read(1 << 16))
            except SSL.WantReadError:
                return


class _Renewed(NamedTuple):
    """What was read again, and in place of what."""

    before: Certificates
    certificates: Certificates
    context: SSL.Context


@implementer(IOpenSSLServerConnectionCreator)
class ListenerTls:
    """The TLS of one listener. New connections use what was read last; those that are there keep what they began with."""

    def __init__(
        self, certificates: Certificates, read: Callable[[], Certificates | None], log: Log, now: Callable[[], float]
    ) -> None:
        """`read` reads the files again, and raises ConfigError; `now`: Unix seconds."""
        self._read, self._log, self._now = read, log, now
        self._told = float("inf")
        self._put(certificates, context_of(certificates))

    def _put(self, certificates: Certificates, context: SSL.Context) -> None:
        self.certificates, self._context = certificates, context
        self._files = _signature(certificates.files)
        self._told = float("inf")
        self.tell_expiry()

    def follow(self, certificates: Certificates, read: Callable[[], Certificates | None]) -> None:
        """Use these from the next connection on (a reload)."""
        self._read = read
        if certificates != self.certificates:
            self._put(certificates, context_of(certificates))

    def read_again(self) -> _Renewed | None:
        """What the files hold where one has changed: certificates are renewed without a command. A file that can't be used
        changes nothing, and is told once. On any thread: the key may come from a command."""
        before = self.certificates
        found = _signature(before.files)
        if found == self._files:
            return None
        self._files = found
        try:
            certificates = self._read()
            if certificates is None or certificates == before:
                return None
            return _Renewed(before, certificates, context_of(certificates))
        except ConfigError as error:
            self._log.error("changed certificates refused, the old ones stay", text=str(error))
        except Exception as error:  # a certificate that nobody thought of must not end the looking
            self._log.error("changed certificates refused, the old ones stay", error=type(error).__name__)
        return None

    def renew(self, renewed: _Renewed | None) -> None:
        """Use what was read again from the next connection on, unless a reload came before; say how long it lasts."""
        if renewed is not None and renewed.before is self.certificates:
            self._put(renewed.certificates, renewed.context)
            self._log.info("certificates read again", days_left=int(self.certificates.days_left(self._now())))
        self.tell_expiry()

    def tell_expiry(self) -> None:
        """Say 30, 14 and 7 days before that the certificate ends, on the last day, and when it has."""
        days = self.certificates.days_left(self._now())
        near = min((limit for limit in (*TELL_BEFORE, 0) if days <= limit), default=None)
        if near is not None and near < self._told:
            self._told = near
            tell = self._log.error if days <= TELL_BEFORE[-1] else self._log.warning
            tell(f"the listener's certificate {warning(days)}", days_left=int(days))

    def factory(self, listener: Any) -> TLSMemoryBIOFactory:
        """What to bind to the port in place of the listener."""
        made = TLSMemoryBIOFactory(self, False, listener)  # type: ignore[arg-type]  # zope declares it
        made.protocol = SecuredTransport
        return made

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Twisted's name: the TLS of a new connection."""
        connection = _Secured(self._context, None)
        connection.ended = tlsProtocol.readConnectionLost
        return connection


def secured(feed: Feed, log: Log) -> ListenerTls | None:
    """The TLS of a feed's listener, if it has any. Raises ConfigError."""
    refuse_the_clear(feed)
    certificates = certificates_of(feed)
    return ListenerTls(certificates, partial(certificates_of, feed), log, time.time) if certificates else None


def watch_certificates(
    reactor: Any,
    watched: Sequence[ListenerTls],
    log: Log,
    aside: Callable[..., Deferred[list[_Renewed | None]]] = threads.deferToThread,
) -> None:
    """Look at the files of certificates now and then, `aside` the reactor, and at the time that they have left."""

    def look() -> None:
        read = aside(lambda: [tls.read_again() for tls in watched])
        read.addCallback(renew)
        read.addErrback(failed)
        read.addBoth(lambda _: reactor.callLater(LOOK_EVERY, look))

    def failed(fault: Failure) -> None:
        log.error("certificates not looked at", error=fault.type.__name__ if fault.type else "")

    def renew(read: Sequence[_Renewed | None]) -> None:
        for tls, renewed in zip(watched, read, strict=True):
            tls.renew(renewed)

    if watched:
        reactor.callLater(LOOK_EVERY, look)


def context_of(certificates: Certificates) -> SSL.Context:
    """An OpenSSL context. Raises ConfigError where OpenSSL will not have the certificate."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[certificates.minimum])
    context.set_cipher_list(_CIPHERS)
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # each connection shows its certificate
    try:
        own, *between = certificates.chain
        context.use_certificate(own)
        for one in between:
            context.add_extra_chain_cert(one)
        context.use_privatekey(certificates.key)
        context.check_privatekey()
    except (SSL.Error, crypto.Error):
        raise ConfigError("cannot be used: OpenSSL refuses it", key="listener.tls.certificate") from None
    if certificates.client_ca:
        trusted = context.get_cert_store()
        assert trusted is not None
        for one in certificates.client_ca:
            trusted.add_cert(crypto.X509.from_cryptography(one))
            context.add_client_ca(one)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verified)
    return context


def _verified(connection: SSL.Connection, _: crypto.X509, error: int, depth: int, good: int) -> bool:
    if not good and isinstance(connection, _Secured):
        connection.why = connection.why or _WHY.get(error, f"the sender's certificate is refused (error {error})")
    return bool(good)


def peer_names(transport: Any) -> tuple[str, ...]:
    """The names of the certificate that the peer showed; () without one."""
    shown = transport.getPeerCertificate()
    return names_of(shown.to_cryptography()) if shown is not None else ()


def why_refused(transport: Any, reason: BaseException | None) -> str:
    """Why a handshake failed, in words; nothing that the peer sent is in it."""
    why = getattr(transport.getHandle(), "why", "")
    if not why and isinstance(reason, SSL.Error) and reason.args and reason.args[0]:
        why = str(reason.args[0][-1][-1])
    return why or "the sender went away"


def _signature(files: tuple[Path, ...]) -> tuple[tuple[int, int], ...]:
    """What changes with a file; a missing one counts as changed."""
    found = []
    for path in files:
        try:
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((0, -1))
    return tuple(found)
