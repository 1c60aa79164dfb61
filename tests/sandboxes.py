"""A sandbox as a process of its own, for the tests of every room.

with running_sandbox(tmp_path) as sandbox:
    sandbox.base_url, sandbox.token_url, sandbox.keys       # what a client needs
    sandbox.fault("status", status=503, times=3)            # the next three requests below /fhir
    sandbox.put(resource)                                   # someone else's edit: no token, no habit, no fault
    sandbox.journal()                                       # what it did
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hl7bridge.model import read_json, write_json
from hl7bridge.sandbox.journal import read_lines
from hl7bridge.sandbox.server import BASE_PATH
from tests.business import improper_in

JsonObject = dict[str, Any]
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class ClientKeys:
    """A client's key pair on disk: the private key as PEM (PKCS 8), the public one as a JWKS."""

    client_id: str
    kid: str
    algorithm: str
    private_pem: Path
    jwks: Path

    def assertion(self, audience: str, *, headers: JsonObject | None = None, **claims: Any) -> str:
        """A signed assertion as SMART Backend Services wants it; `claims` replace its own, None removes one."""
        now = int(time.time())
        made = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "exp": now + 240,
            "iat": now - 10,
            "nbf": now - 10,
            "jti": str(uuid.uuid4()),
        } | claims
        made = {name: value for name, value in made.items() if value is not None}
        return jwt.encode(made, self.private_pem.read_bytes(), self.algorithm, {"kid": self.kid, **(headers or {})})


def new_keys(folder: Path, *, client_id: str = "hl7bridge", algorithm: str = "ES384") -> ClientKeys:
    """A fresh key pair in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    kid = uuid.uuid4().hex
    private: Any
    if algorithm.startswith("ES"):
        private = ec.generate_private_key(ec.SECP384R1())
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key()))
    else:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    keys = ClientKeys(client_id, kid, algorithm, folder / f"{kid}.pem", folder / f"{kid}.jwks.json")
    plain = serialization.NoEncryption()
    keys.private_pem.write_bytes(
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    keys.private_pem.chmod(0o600)
    keys.jwks.write_text(json.dumps({"keys": [{**public, "kid": kid, "use": "sig", "alg": algorithm}]}))
    return keys


@dataclass
class RunningSandbox:
    """A sandbox process and a test's view of it: whatever goes through here is the observer's, not a client's."""

    process: subprocess.Popen[bytes]
    base_url: str
    token_url: str
    control_url: str
    port: int
    keys: ClientKeys | None
    journal_file: Path
    http: httpx.Client = field(repr=False)

    # --- the observer's reads and writes -----------------------------------------------------------------------------

    def get(self, resource_type: str, resource_id: str) -> JsonObject:
        """The resource as it stands."""
        return self._fhir("GET", f"{resource_type}/{resource_id}")

    def search(self, resource_type: str, **parameters: str) -> list[JsonObject]:
        """All resources that match, at most fifty."""
        found = self._fhir("GET", resource_type, params={"_count": "50", **parameters})
        return [entry["resource"] for entry in found.get("entry", []) if entry["search"]["mode"] == "match"]

    def all(self, resource_type: str) -> list[JsonObject]:
        """Every resource of that type, in the order of creation."""
        found: JsonObject = read_json(self._checked(self.http.get(f"{self.control_url}/state?resources=true")).content)
        return list(found["resources"][resource_type])

    def post(self, resource: JsonObject) -> JsonObject:
        """Create a resource."""
        return self._fhir("POST", resource["resourceType"], content=write_json(resource).encode())

    def put(self, resource: JsonObject) -> JsonObject:
        """Replace a resource, as someone else would by hand."""
        return self._fhir("PUT", f"{resource['resourceType']}/{resource['id']}", content=write_json(resource).encode())

    def delete(self, resource_type: str, resource_id: str) -> None:
        """Delete a resource: 410 from now on."""
        self._checked(self.http.delete(f"{self.base_url}/{resource_type}/{resource_id}"))

    def _fhir(self, method: str, path: str, **options: Any) -> JsonObject:
        headers = {"Content-Type": "application/fhir+json"} if "content" in options else {}
        response = self.http.request(method, f"{self.base_url}/{path}", headers=headers, **options)
        read: JsonObject = read_json(self._checked(response).content)
        return read

    def _checked(self, response: httpx.Response) -> httpx.Response:
        assert response.is_success, f"{response.status_code} {response.text}"
        return response

    # --- levers ------------------------------------------------------------------------------------------------------

    def journal(self, since: int = 0) -> list[JsonObject]:
        """The entries of the journal after `since`; their fields: hl7bridge/sandbox/journal.py."""
        read: JsonObject = read_json(self._checked(self.http.get(f"{self.control_url}/journal?since={since}")).content)
        return list(read["entries"])

    def state(self) -> JsonObject:
        """Counts, habits and waiting faults."""
        read: JsonObject = self._checked(self.http.get(f"{self.control_url}/state")).json()
        return read

    def habits(self, **habits: Any) -> None:
        """Set lasting habits, e.g. habits(version_conflict=412); see hl7bridge/sandbox/habits.py."""
        self._levers({"habits": habits})

    def fault(self, kind: str, **fields: Any) -> None:
        """Add a fault, e.g. fault("status", on=["write"], status=503, times=3)."""
        self._levers({"faults": [{"kind": kind, **fields}]})

    def clear(self) -> None:
        """Habits as at the start, no faults."""
        self._levers({"clear": True})

    def revoke_tokens(self) -> None:
        """End all access tokens now."""
        self._levers({"revoke_tokens": True})

    def reset(self) -> None:
        """Forget resources, tokens, faults and changed habits."""
        self._checked(self.http.post(f"{self.control_url}/reset"))

    def _levers(self, asked: JsonObject) -> None:
        self._checked(self.http.post(f"{self.control_url}/habits", json=asked))

    # --- a client's token --------------------------------------------------------------------------------------------

    def token(self, scope: str = "", keys: ClientKeys | None = None) -> str:
        """An access token, asked for as a client does."""
        keys = keys or self.keys
        assert keys is not None, "the sandbox runs without auth"
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": keys.assertion(self.token_url),
        }
        response = httpx.post(self.token_url, data={**form, "scope": scope} if scope else form, trust_env=False)
        return str(self._checked(response).json()["access_token"])

    # --- the process -------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it without warning, as `kill -9`."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """End it as an operator does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@contextmanager
def running_sandbox(
    folder: Path,
    *options: str,
    auth: bool = True,
    keep: bool = False,
    keys: ClientKeys | None = None,
    port: int = 0,
) -> Iterator[RunningSandbox]:
    """Start a sandbox; it ends with the block, or with this process. What the bridge asked of it is judged then.

    folder    holds its journal (journal.jsonl), its keys, and, with `keep`, its resources: a second sandbox on the same
              folder goes on from there (give it the first one's `keys`)
    options   further options of `hl7bridge sandbox`, e.g. "--profile", "epic"
    """
    folder.mkdir(parents=True, exist_ok=True)
    if auth and keys is None:
        keys = new_keys(folder)
    journal = folder / "journal.jsonl"
    command = [sys.executable, "-m", "hl7bridge.cli.tools.sandbox", "--json", "--until-stdin-closes"]
    command += ["--port", str(port), "--journal", str(journal)]
    if keys is not None:
        command += ["--client-id", keys.client_id, "--client-jwks", str(keys.jwks)]
    command += [] if auth else ["--no-auth"]
    command += ["--data", str(folder / "data")] if keep else []
    with (folder / "sandbox.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=_environment()
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the sandbox did not start: {(folder / 'sandbox.log').read_text()}"
        said = json.loads(line)
        headers = {"X-Sandbox-Observer": "true"}
        with httpx.Client(headers=headers, trust_env=False) as http:
            yield RunningSandbox(
                process, said["base_url"], said["token_url"], said["control_url"], said["port"], keys, journal, http
            )
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        process.stdout.close()
    if journal.exists():
        wrong = improper_in(read_lines(journal), BASE_PATH, auth=auth)
        assert not wrong, wrong


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}
