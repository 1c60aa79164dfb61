"""The checks that a Practitioner or PractitionerRole passes before it is stored. Not a profile validator: shapes, codes
of required bindings, and what JSON in FHIR forbids (R4 json.html). Stricter than HAPI in one respect: an unknown element
is refused, where HAPI drops it without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from hl7bridge.model import JsonObject
from hl7bridge.sandbox.outcomes import Refused

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
_DATE_TIME = re.compile(_DATE.pattern + r"(T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]\d\d:[0-5]\d))?")

_CODES = {
    "gender": ("male", "female", "other", "unknown"),
    "Identifier.use": ("usual", "official", "temp", "secondary", "old"),
    "HumanName.use": ("usual", "official", "temp", "nickname", "anonymous", "old", "maiden"),
    "ContactPoint.system": ("phone", "fax", "email", "pager", "url", "sms", "other"),
    "ContactPoint.use": ("home", "work", "temp", "old", "mobile"),
    "Address.use": ("home", "work", "temp", "old", "billing"),
    "Address.type": ("postal", "physical", "both"),
}

# element -> type; "*" marks a list
_COMMON = {
    "id": "id",
    "meta": "Element",
    "implicitRules": "string",
    "language": "string",
    "text": "Element",
    "contained": "Element*",
    "extension": "Element*",
    "modifierExtension": "Element*",
    "identifier": "Identifier*",
    "active": "boolean",
    "telecom": "ContactPoint*",
}
_ELEMENTS = {
    "Practitioner": _COMMON
    | {
        "name": "HumanName*",
        "address": "Address*",
        "gender": "gender",
        "birthDate": "date",
        "photo": "Element*",
        "qualification": "Element*",
        "communication": "Element*",
    },
    "PractitionerRole": _COMMON
    | {
        "period": "Period",
        "practitioner": "Reference",
        "organization": "Reference",
        "code": "Element*",
        "specialty": "Element*",
        "location": "Reference*",
        "healthcareService": "Reference*",
        "availableTime": "Element*",
        "notAvailable": "Element*",
        "availabilityExceptions": "string",
        "endpoint": "Reference*",
    },
}
_PRIMITIVES = frozenset({"id", "string", "boolean", "gender", "date"})
_REFERENCES = {"practitioner": "Practitioner", "organization": "Organization"}


def check_resource(resource_type: str, body: Any, holds: Callable[[str, str], bool]) -> JsonObject:
    """The body as a resource of that type. `holds(type, id)` says whether the server has a resource.

    Raises Refused: 400 for a wrong shape or a code outside a required binding (as HAPI), 422 for an unknown element, an
    identifier without a value, or a reference to another type than the element allows.
    """
    if not isinstance(body, dict):
        raise Refused(400, "structure", "The body is not a JSON object")
    if body.get("resourceType") != resource_type:
        raise Refused(400, "invalid", f"resourceType is not {resource_type}", path="resourceType")
    _refuse_unfit(body, resource_type)
    elements = _ELEMENTS[resource_type]
    for name, value in body.items():
        if name == "resourceType":
            continue
        path = f"{resource_type}.{name}"
        kind = elements.get(name.removeprefix("_"))
        if kind is None or (name.startswith("_") and kind not in _PRIMITIVES):
            raise Refused(422, "structure", f"{resource_type} has no such element", path=path)
        if name.startswith("_"):
            _expect(value, dict, path)
            continue
        if kind.endswith("*"):
            _expect(value, list, path)
            for index, item in enumerate(value):
                _check_value(kind[:-1], item, f"{path}[{index}]")
        else:
            _check_value(kind, value, path)
    for element, path, reference in _references(resource_type, body):
        _check_reference(element, path, reference, holds)
    return body


def _check_value(kind: str, value: Any, path: str) -> None:
    if kind == "boolean":
        _expect(value, bool, path)
    elif kind in _PRIMITIVES:
        _expect(value, str, path)
    else:
        _expect(value, dict, path)
    if kind == "gender":
        _check_code("gender", value, path)
    elif kind == "date" and not _DATE.fullmatch(value):
        raise Refused(400, "value", "Not a date", path=path)
    elif kind == "id" and not value:
        raise Refused(400, "value", "Not an id", path=path)
    elif kind == "Identifier":
        _check_identifier(value, path)
    elif kind == "HumanName":
        for name in ("prefix", "given", "suffix"):
            for item in _expect(value.get(name, []), list, f"{path}.{name}"):
                if item is not None:
                    _expect(item, str, f"{path}.{name}")
        _expect(value.get("family", ""), str, f"{path}.family")
    elif kind == "Period":
        _check_period(value, path)
    if isinstance(value, dict):
        for name in ("use", "system", "type"):
            if f"{kind}.{name}" in _CODES and name in value:
                _check_code(f"{kind}.{name}", value[name], f"{path}.{name}")
        if "period" in value:
            _check_period(_expect(value["period"], dict, f"{path}.period"), f"{path}.period")


def _check_identifier(value: JsonObject, path: str) -> None:
    for name in ("system", "value"):
        text = _expect(value.get(name, ""), str, f"{path}.{name}")
        if name == "system" and (text != text.strip() or (text and ":" not in text)):
            raise Refused(422, "value", "The system is not an absolute URI", path=f"{path}.system")
    if "value" not in value and "_value" not in value and "extension" not in value:
        raise Refused(422, "required", "An identifier without a value", path=f"{path}.value")


def _check_period(value: JsonObject, path: str) -> None:
    for name in ("start", "end"):
        text = value.get(name)
        if text is not None and not (isinstance(text, str) and _DATE_TIME.fullmatch(text)):
            raise Refused(400, "value", "Not a date and time", path=f"{path}.{name}")


def _check_code(binding: str, value: Any, path: str) -> None:
    if value not in _CODES[binding]:
        raise Refused(400, "code-invalid", f"Not one of {', '.join(_CODES[binding])}", path=path)


def _expect(value: Any, kind: type, path: str) -> Any:
    if not isinstance(value, kind):
        raise Refused(400, "structure", f"Not a JSON {_JSON_NAMES[kind]}", path=path)
    return value


_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean"}


def _refuse_unfit(value: Any, path: str, in_list: bool = False) -> None:
    """JSON in FHIR has no empty objects, arrays or strings; null stands only in arrays; NaN and Infinity nowhere."""
    if isinstance(value, dict):
        if not value:
            raise Refused(400, "structure", "An empty object", path=path)
        for name, item in value.items():
            _refuse_unfit(item, f"{path}.{name}")
    elif isinstance(value, list):
        if not value:
            raise Refused(400, "structure", "An empty array", path=path)
        for index, item in enumerate(value):
            _refuse_unfit(item, f"{path}[{index}]", in_list=True)
    elif value == "" or (value is None and not in_list):
        raise Refused(400, "structure", "An empty value", path=path)
    elif isinstance(value, float):
        # A number with a fraction is read as `Number`: a float is none that JSON has.
        raise Refused(400, "structure", "Not a number of JSON", path=path)


def _references(resource_type: str, body: JsonObject) -> Iterator[tuple[str, str, JsonObject]]:
    for name, kind in _ELEMENTS[resource_type].items():
        if kind == "Reference" and name in body:
            yield name, f"{resource_type}.{name}", body[name]
        elif kind == "Reference*":
            for index, item in enumerate(body.get(name, [])):
                yield name, f"{resource_type}.{name}[{index}]", item


def _check_reference(element: str, path: str, reference: JsonObject, holds: Callable[[str, str], bool]) -> None:
    """As HAPI: a missing target 400, a wrong type 422, an absolute URL 400; a logical reference is taken as it is."""
    target = reference.get("reference")
    if target is None:
        return
    path += ".reference"
    if _expect(target, str, path).startswith("#"):
        return
    kind, _, name = target.partition("/")
    if ":" in target or not name or "/" in name:
        raise Refused(400, "value", "Not a relative reference", path=path)
    if element in _REFERENCES and kind != _REFERENCES[element]:
        raise Refused(
            422, "value", f"Refers to something else than a resource of type {_REFERENCES[element]}", path=path
        )
    if not holds(kind, name):
        raise Refused(400, "not-found", "The resource that it refers to is not here", path=path)
