"""The sandbox as a WSGI callable: FHIR R4 below /fhir, the token endpoint, the test's levers below /sandbox (control.py)."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import formatdate

from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from hl7bridge.sandbox.control import OBSERVER, add_control, is_local
from hl7bridge.sandbox.fhir import Incoming
from hl7bridge.sandbox.interactions import Asked, asked_by
from hl7bridge.sandbox.outcomes import Answer, Refused
from hl7bridge.sandbox.server import BASE_PATH, TOKEN_PATH, ConnectionDropped, Sandbox, SandboxSettings

LARGEST_BODY = 4 * 1024 * 1024
# A server that can (service/web.py) puts a callable here: it takes "reset" or "end" and closes the connection.
CLOSE_CONNECTION = "hl7bridge.close_connection"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,200}")


def create_app(settings: SandboxSettings) -> Flask:
    """The sandbox as a WSGI callable; `app.extensions["sandbox"]` is the `Sandbox`, to be closed at the end.

    Raises OSError when a file cannot be opened.
    """
    sandbox = Sandbox(settings)
    app = Flask("hl7bridge.sandbox", static_folder=None)
    app.extensions["sandbox"] = sandbox
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.url_map.merge_slashes = False

    @app.route(BASE_PATH, defaults={"path": ""}, methods=_METHODS, strict_slashes=False)
    @app.route(f"{BASE_PATH}/<path:path>", methods=_METHODS)
    def fhir(path: str) -> Response:
        incoming = _incoming(sandbox, asked_by(request.method, path))
        return _respond(sandbox, lambda: sandbox.exchange(incoming))

    @app.post(TOKEN_PATH)
    def token() -> Response:
        incoming = _incoming(sandbox, Asked("token"))
        return _respond(sandbox, lambda: sandbox.token(incoming, request.form.to_dict()))

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        code = "too-long" if isinstance(error, RequestEntityTooLarge) else "not-found"
        refused = Refused(error.code or 500, code, error.name)
        incoming = _incoming(sandbox, Asked("other"))
        return _respond(sandbox, lambda: sandbox.refuse(incoming, refused))

    add_control(app, sandbox)
    return app


def _incoming(sandbox: Sandbox, asked: Asked) -> Incoming:
    return Incoming(
        method=request.method,
        path=request.path,
        asked=asked,
        base_url=sandbox.settings.base_url or f"{request.scheme}://{request.host}{BASE_PATH}",
        headers={name.lower(): text for name, text in request.headers.items()},
        pairs=tuple(request.args.items(multi=True)),
        body=b"" if asked.interaction in ("token", "other") else request.get_data(),
        observer=_is_observer(request),
    )


def _is_observer(asking: Request) -> bool:
    return asking.headers.get(OBSERVER) == "true" and is_local(asking)


def _respond(sandbox: Sandbox, answer: Callable[[], Answer]) -> Response:
    try:
        made = answer()
    except ConnectionDropped as dropped:
        close = request.environ.get(CLOSE_CONNECTION)
        if close is None:
            # Called without a socket: what a client library would see.
            raise ConnectionResetError("closed by a habit of the sandbox") from None
        close(dropped.close)
        return Response(status=500)
    response = Response(made.body, made.status, content_type=made.content_type)
    response.headers.update(made.headers)
    response.headers["Date"] = formatdate(sandbox.clock(), usegmt=True)
    request_id = request.headers.get("X-Request-Id", "")
    if _REQUEST_ID.fullmatch(request_id):
        response.headers["X-Request-Id"] = request_id
    return response
