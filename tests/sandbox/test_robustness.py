"""Whatever is sent, the sandbox answers as FHIR does; and what it says is FHIR to others, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import Client as WsgiClient

from hl7bridge.sandbox import SandboxSettings, create_app
from tests.sandbox.conftest import Clock, Desk, practitioner, read

FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = [
    "identifier",
    "active",
    "name",
    "telecom",
    "gender",
    "birthDate",
    "_gender",
    "meta",
    "id",
    "practitioner",
    "period",
]
INNER = ["use", "system", "value", "family", "given", "start", "reference", "url", "valueDecimal", "versionId"]
TEXTS = [
    "female",
    "work",
    "phone",
    "urn:x:y",
    "1000",
    "Practitioner/1000",
    "2026-02-02",
    "",
    "x|y",
    "\u0000",
    "\ud800",
    "é",
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def one() -> Iterator[Desk]:
    app = create_app(SandboxSettings(auth=False))
    desk = Desk(app.extensions["sandbox"], WsgiClient(app), Clock())
    desk.create(practitioner("S1"))
    yield desk
    desk.sandbox.close()


@FEW
@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4), st.sampled_from(["Practitioner", "PractitionerRole"])
)
def test_any_body_is_stored_as_it_is_or_refused(one: Desk, elements: dict[str, Any], kind: str) -> None:
    body = json.dumps({"resourceType": kind, **elements})
    answer = one.call("POST", kind, body)
    assert answer.status_code in (201, 400, 422), answer.text
    if answer.status_code == 201:
        stored = json.loads(one.call("GET", f"{kind}/{read(answer)['id']}").data)
        sent = json.loads(body)
        assert {k: v for k, v in stored.items() if k not in ("id", "meta")} == {
            k: v for k, v in sent.items() if k not in ("id", "meta")
        }
        one.call("DELETE", f"{kind}/{stored['id']}", x_sandbox_observer="true")


@FEW
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["_id", "identifier", "name", "family:exact", "active", "_count", "_page", "_format", "x"]),
            st.text(st.sampled_from("aS1|,\\$:é%&\u0000"), max_size=6),
        ),
        max_size=3,
    )
)
def test_any_search_is_answered(one: Desk, pairs: list[tuple[str, str]]) -> None:
    local = {"REMOTE_ADDR": "127.0.0.1"}
    answer = one.client.get("/fhir/Practitioner", query_string=pairs, environ_overrides=local)
    assert answer.status_code in (200, 400, 406, 410), answer.text
    form = "&".join(f"{name}={value}" for name, value in pairs)
    headers = {"content_type": "application/x-www-form-urlencoded"}
    assert one.call("POST", "Practitioner/_search", form, **headers).status_code in (200, 400, 406, 410)
    posted = one.call("POST", "Practitioner", practitioner("S1"), if_none_exist=form.encode("ascii", "ignore").decode())
    assert posted.status_code in (200, 201, 400, 406, 412), posted.text


@FEW
@given(
    st.lists(
        st.sampled_from(["Practitioner", "1000", "_history", "_search", "metadata", "..", "", "é", "a b"]), max_size=5
    )
)
def test_any_path_is_answered(one: Desk, parts: list[str]) -> None:
    for method in ("GET", "PUT", "PATCH", "POST", "HEAD", "OPTIONS"):
        assert one.call(method, "/".join(["/fhir", *parts])).status_code < 500


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "metadata", None),
        ("GET", "Practitioner?identifier=S1", None),
        ("GET", "Practitioner?identifier=S1&x=1", None),
        ("GET", "Practitioner?identifier=none", None),
        ("GET", "Practitioner/1000", None),
        ("GET", "Practitioner/1000/_history", None),
        ("GET", "Practitioner/77", None),
        ("POST", "Practitioner", {"resourceType": "Practitioner", "gender": "F"}),
        ("POST", "Practitioner", {"resourceType": "Patient"}),
    ],
)
def test_another_library_reads_what_is_answered(desk: Desk, method: str, path: str, body: object) -> None:
    desk.create(practitioner("S1", active=True))
    answer = json.loads(desk.call(method, path, body, prefer="handling=lenient").data)
    get_fhir_model_class(answer["resourceType"]).model_validate(answer)
