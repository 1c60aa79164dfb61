"""What the sandbox says of itself: the CapabilityStatement and the SMART configuration."""

from __future__ import annotations

from hl7bridge.model import JsonObject
from hl7bridge.sandbox import scopes
from hl7bridge.sandbox.habits import Habits
from hl7bridge.sandbox.interactions import RESOURCE_TYPES
from hl7bridge.sandbox.oauth import ALGORITHMS
from hl7bridge.sandbox.search import PARAMETERS

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def capability_statement(base_url: str, token_url: str, habits: Habits, auth: bool) -> JsonObject:
    """CapabilityStatement (R4). Writes that are refused with 405 or 501 are not declared; with 403 they are, as where
    a server could but this client may not."""
    declares_writes = habits.writes_refused in (0, 403)
    rest: JsonObject = {"mode": "server"}
    if auth:
        uris = {"url": _OAUTH_URIS, "extension": [{"url": "token", "valueUri": token_url}]}
        service = {"coding": [{"system": _SERVICE, "code": "SMART-on-FHIR"}]}
        rest["security"] = {"extension": [uris], "service": [service]}
    rest["resource"] = [_resource(kind, habits, declares_writes) for kind in RESOURCE_TYPES]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-22",
        "kind": "instance",
        "software": {"name": "hl7bridge sandbox"},
        "implementation": {"description": "hl7bridge sandbox, for tests", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [rest],
    }


def _resource(resource_type: str, habits: Habits, declares_writes: bool) -> JsonObject:
    codes = ["read", "search-type"]
    if habits.versioned:
        codes += ["vread", "history-instance"]
    if declares_writes:
        codes += ["create", "update"]
    parameters = [{"name": name, "type": kind} for name, kind in PARAMETERS[resource_type].items()]
    return {
        "type": resource_type,
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned-update" if habits.versioned else "no-version",
        "readHistory": habits.versioned,
        "updateCreate": habits.update_creates,
        "conditionalCreate": declares_writes and habits.conditional_create == "on",
        "conditionalRead": "not-match" if habits.versioned else "not-supported",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": parameters,
    }


def smart_configuration(token_url: str) -> JsonObject:
    """`.well-known/smart-configuration` (SMART App Launch 2.2, conformance)."""
    return {
        "token_endpoint": token_url,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "scopes_supported": scopes.supported(RESOURCE_TYPES),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }
