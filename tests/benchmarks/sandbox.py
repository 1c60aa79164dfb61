"""How much the sandbox carries: python -m tests.benchmarks.sandbox

One process with the sandbox, this one with plain http.client connections that are kept alive; requests a second.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.sandboxes import RunningSandbox, running_sandbox

SYSTEM = "urn:x:bench"


def person(number: int) -> bytes:
    identifier = {"system": SYSTEM, "value": f"B{number}"}
    name = {"family": "Brandvold", "given": ["Runa"]}
    return json.dumps(
        {"resourceType": "Practitioner", "identifier": [identifier], "name": [name], "active": True}
    ).encode()


def rate(
    sandbox: RunningSandbox, token: str, count: int, connections: int, ask: Callable[[int], tuple[str, str, bytes]]
) -> float:
    """Send `count` requests over that many connections; `ask(number)` gives method, path and body."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}

    def send(start: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", sandbox.port)
        for number in range(start, count, connections):
            method, path, body = ask(number)
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            response.read()
            assert response.status < 300, response.status
        connection.close()

    begin = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(send, range(connections)))
    return count / (time.perf_counter() - begin)


def main() -> None:
    print(f"{'':<10}{'connections':>12}{'create':>9}{'read':>9}{'search':>9}  a second")
    for keep in (False, True):
        for connections in (1, 8):
            with tempfile.TemporaryDirectory() as folder, running_sandbox(Path(folder), keep=keep) as sandbox:
                token = sandbox.token()
                created = rate(sandbox, token, 1500, connections, lambda n: ("POST", "/fhir/Practitioner", person(n)))
                read = rate(
                    sandbox, token, 3000, connections, lambda n: ("GET", f"/fhir/Practitioner/{1000 + n % 1500}", b"")
                )
                found = rate(
                    sandbox,
                    token,
                    3000,
                    connections,
                    lambda n: ("GET", f"/fhir/Practitioner?identifier={SYSTEM}%7CB{n % 1500}", b""),
                )
            where = "on a file" if keep else "in memory"
            print(f"{where:<10}{connections:>12}{created:>9.0f}{read:>9.0f}{found:>9.0f}")


if __name__ == "__main__":
    main()
