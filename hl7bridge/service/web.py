"""Serves a WSGI callable over HTTP/1.1 with Twisted: the callable runs in threads of its own, sockets in the reactor.

`WebServer` joins a reactor that others run, too; `serve` is a process that does nothing else.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.protocols.policies import WrappingFactory
from twisted.python.threadpool import ThreadPool
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.wsgi import WSGIResource

from hl7bridge.errors import ConfigError

WSGIApplication = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]

# In the environ of each request: a callable that closes the connection without an answer, "reset" by RST, "end" by FIN.
CLOSE_CONNECTION = "hl7bridge.close_connection"


class WebServer:
    """One WSGI callable on one address.

    `threads` requests run at once, others wait. `grace`: seconds that requests in progress have to end when it stops.
    """

    def __init__(
        self,
        app: WSGIApplication,
        reactor: Any,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        threads: int = 16,
        grace: float = 5.0,
    ) -> None:
        self._app, self._reactor = app, reactor
        self._host, self._port, self._grace = host, port, grace
        self._pool = ThreadPool(minthreads=1, maxthreads=threads, name="web")
        self._pool.threadFactory = _DaemonThread
        self._connections: WrappingFactory[Any] | None = None
        self._listening: Any = None
        self._in_progress = 0
        self._idle: Deferred[None] | None = None

    def start(self) -> int:
        """Listen; returns the port. Call it in the reactor's thread, or before the reactor runs.

        Raises ConfigError when the address is taken or not of this machine.
        """
        site = Site(_Leaf(self))  # type: ignore[no-untyped-call]
        site.displayTracebacks = False
        self._connections = WrappingFactory(site)  # type: ignore[no-untyped-call]
        try:
            self._listening = self._reactor.listenTCP(self._port, self._connections, interface=self._host)
        except CannotListenError as error:
            reason = error.socketError.strerror or "it cannot be used"
            raise ConfigError(f"cannot listen on {self._host} port {self._port}: {reason}", key="port") from None
        self._pool.start()
        port: int = self._listening.getHost().port
        return port

    def stop(self) -> Deferred[None]:
        """Stop listening, let the requests in progress end, close the connections; fires when all that is done."""
        stopped: Deferred[None] = maybeDeferred(self._listening.stopListening)
        stopped.addCallback(lambda _: self._ended())
        stopped.addBoth(lambda _: self._close())
        return stopped

    def _ended(self) -> Deferred[None]:
        self._idle = Deferred()
        if not self._in_progress:
            self._idle.callback(None)
        else:
            self._idle.addTimeout(self._grace, self._reactor, lambda result, timeout: None)
        return self._idle

    def _close(self) -> Deferred[None]:
        for connection in list(self._connections.protocols) if self._connections else ():
            connection.loseConnection()
        if not self._in_progress:
            self._pool.stop()
        # One turn of the reactor, so that what was written leaves before the reactor goes.
        turn: Deferred[None] = Deferred()
        self._reactor.callLater(0, turn.callback, None)
        return turn

    def render(self, request: Request) -> Any:
        """Hand a request to the callable in a thread."""
        self._in_progress += 1
        ended = threading.Event()
        request.notifyFinish().addBoth(self._request_ended, ended)

        def close(how: str) -> None:
            # Wait for the end: from then on whatever the callable returns goes nowhere.
            self._reactor.callFromThread(_close_connection, request, how)
            ended.wait(self._grace)

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            environ[CLOSE_CONNECTION] = close
            # Twisted has read the body to its end, chunked or not.
            environ["wsgi.input_terminated"] = True
            return self._app(environ, functools.partial(_start_response, request, start_response))

        resource = WSGIResource(self._reactor, self._pool, app)  # type: ignore[no-untyped-call]
        return resource.render(request)  # type: ignore[no-untyped-call]

    def _request_ended(self, _: object, ended: threading.Event) -> None:
        ended.set()
        self._in_progress -= 1
        if not self._in_progress and self._idle is not None and not self._idle.called:
            self._idle.callback(None)


class _Leaf(Resource):
    """The root resource: every path belongs to the callable."""

    isLeaf = True

    def __init__(self, server: WebServer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._server = server

    def render(self, request: Request) -> Any:
        return self._server.render(request)


class _DaemonThread(threading.Thread):
    """A request that outlives the grace does not keep the process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "daemon": True})


def _start_response(
    request: Request, start_response: StartResponse, status: str, headers: list[tuple[str, str]], *rest: Any
) -> Any:
    for name, text in headers:
        if name.lower() == "date":
            # Twisted writes its own Date unless the request has one; a server that plays a wrong clock needs its own.
            request.responseHeaders.setRawHeaders(b"date", [text.encode("latin-1")])
    return start_response(status, headers, *rest)


def _close_connection(request: Request, how: str) -> None:
    transport: Any = request.transport
    if how == "reset":
        transport.abortConnection()
    else:
        transport.loseConnection()


def serve(
    app: WSGIApplication,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    threads: int = 16,
    ready: Callable[[int], None] = lambda port: None,
    stopping: Callable[[], None] = lambda: None,
    until: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the file descriptor `until` is at its end.

    `ready(port)` is called once requests are taken, `stopping()` when no more are.
    Runs Twisted's reactor: once in a process, in its main thread. Raises ConfigError when the address cannot be used.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    server = WebServer(app, reactor, host=host, port=port, threads=threads)
    bound = server.start()

    def stop() -> Deferred[None]:
        stopping()
        return server.stop()

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.callWhenRunning(take_signals, reactor)
    reactor.callWhenRunning(ready, bound)
    if until is not None:
        threading.Thread(target=_watch, args=(until, reactor), daemon=True).start()
    reactor.run()


def _watch(descriptor: int, reactor: Any) -> None:
    """Stop the reactor at the end of the stream: the parent closed it, or is no more.

    Read without a buffer: a thread that holds the lock of a buffered stream breaks the interpreter's end.
    """
    while os.read(descriptor, 4096):
        pass
    reactor.callFromThread(stop_reactor, reactor)


def take_signals(reactor: Any) -> None:
    """End the running reactor on SIGINT and SIGTERM; a second one, while it ends, changes nothing.

    Twisted's own handlers print a traceback at the second. What is ignored (a shell's background job) stays ignored.
    """

    def stop(*_: object) -> None:
        reactor.callFromThread(stop_reactor, reactor)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def stop_reactor(reactor: Any) -> None:
    """Stop it, unless a signal was faster. On the reactor's thread."""
    from twisted.internet.error import ReactorNotRunning

    try:
        reactor.stop()
    except ReactorNotRunning:
        pass  # a signal was faster
