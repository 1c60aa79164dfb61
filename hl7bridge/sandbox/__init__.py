"""An embedded FHIR R4 server for Practitioner and PractitionerRole with an OAuth token endpoint: for the demo, for tests,
and for analysts. It stands alone, and it is an instrument: what it did is in its journal, and it can be told to misbehave.
"""

from hl7bridge.sandbox.app import create_app
from hl7bridge.sandbox.habits import PROFILES, Fault, Habits
from hl7bridge.sandbox.oauth import ALL_SCOPES, Client
from hl7bridge.sandbox.server import BASE_PATH, TOKEN_PATH, Sandbox, SandboxSettings

__all__ = [
    "ALL_SCOPES",
    "BASE_PATH",
    "PROFILES",
    "TOKEN_PATH",
    "Client",
    "Fault",
    "Habits",
    "Sandbox",
    "SandboxSettings",
    "create_app",
]
