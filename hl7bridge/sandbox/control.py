"""The levers of a test, below /sandbox, for callers on this machine only: journal, state, habits, reset.

    GET  /sandbox/journal?since=N     the entries after N: {"entries": [...]}
    GET  /sandbox/state               counts, habits, faults; with ?resources=true every resource as it stands
    GET  /sandbox/habits              {"habits": {...}, "faults": [...], "profiles": [...]}
    POST /sandbox/habits              any of: "clear": true (as at the start), "habits": {name: value}, "faults":
                                      [{"kind": ...}], "revoke_tokens": true; answers like GET
    POST /sandbox/reset               forget resources, tokens and faults

A request below /fhir with the header `X-Sandbox-Observer: true`, from this machine, is the test's own: it needs no token,
meets no habit and no fault, and may DELETE. It stands in the journal with the client "observer".
"""

from __future__ import annotations

from ipaddress import ip_address

from flask import Flask, Request, Response, request

from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject, read_json, write_json
from hl7bridge.sandbox.habits import PROFILES, Fault
from hl7bridge.sandbox.server import Sandbox

OBSERVER = "x-sandbox-observer"


def is_local(asking: Request) -> bool:
    """Whether the caller is on this machine and named it so (a page in a browser that was lured here did not)."""
    return _is_loopback(asking.remote_addr or "") and _is_loopback(asking.host.rpartition(":")[0] or asking.host)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def add_control(app: Flask, sandbox: Sandbox) -> None:
    """Add the paths below /sandbox to the app."""

    @app.before_request
    def refuse_strangers() -> Response | None:
        if request.path.startswith("/sandbox") and not is_local(request):
            return _json({"error": "for callers on this machine only"}, 403)
        return None

    @app.get("/sandbox/journal")
    def journal() -> Response:
        since = request.args.get("since", "0")
        if not since.isdecimal():
            return _json({"error": "since is not a number"}, 400)
        return _json({"entries": list(sandbox.journal.entries(int(since)))})

    @app.get("/sandbox/state")
    def state() -> Response:
        return _json(sandbox.state(request.args.get("resources") == "true"))

    @app.get("/sandbox/habits")
    def habits() -> Response:
        return _json(_habits(sandbox))

    @app.post("/sandbox/habits")
    def change_habits() -> Response:
        if request.mimetype != "application/json":
            # A form of a web page cannot send this type without asking first.
            return _json({"error": "the body is not application/json"}, 415)
        try:
            _change(sandbox, read_json(request.get_data()))
        except (ConfigError, ValueError, TypeError, AttributeError) as error:
            return _json({"error": str(error) if isinstance(error, ConfigError) else "not understood"}, 400)
        return _json(_habits(sandbox))

    @app.post("/sandbox/reset")
    def reset() -> Response:
        sandbox.reset()
        return _json(sandbox.state())


def _change(sandbox: Sandbox, asked: JsonObject) -> None:
    unknown = asked.keys() - {"clear", "habits", "faults", "revoke_tokens"}
    if unknown:
        raise ConfigError("not known here", key=min(unknown))
    start = sandbox.settings.habits if asked.get("clear") else sandbox.habits
    changed = start.changed(asked.get("habits", {}))
    faults = [Fault.from_json(read) for read in asked.get("faults", [])]
    sandbox.habits = changed
    if asked.get("clear"):
        sandbox.faults.clear()
    sandbox.faults.add(*faults)
    if asked.get("revoke_tokens"):
        sandbox.authorization.revoke()


def _habits(sandbox: Sandbox) -> JsonObject:
    return {"habits": sandbox.habits.as_json(), "faults": sandbox.faults.as_json(), "profiles": list(PROFILES)}


def _json(value: object, status: int = 200) -> Response:
    return Response(write_json(value), status, content_type="application/json")
