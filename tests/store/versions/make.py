"""Write `NNNN.sql` for the latest schema: `python -m tests.store.versions.make`."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from hl7bridge.store.migrating import MIGRATIONS, numbered
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.store import DeliveryState, MessageState
from tests.store.builders import NEGATIVE, NOW, accept_one, change, claim, full_outcome, settlement


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with SqliteStore(path) as store:
            accept_one(store, change("S1"), control_id="V1")
            accept_one(store, change("S2"), control_id="V2")
            accept_one(store, None, control_id="V3", state=MessageState.REFUSED, acknowledgments=[NEGATIVE])
            first, second = claim(store)
            store.settle(
                [
                    settlement(first, outcome=full_outcome("p1")),
                    settlement(second, DeliveryState.RETRY, next_attempt=NOW),
                ],
                NOW,
            )
            store.leave("w", NOW)
        connection = sqlite3.connect(path)
        script = "\n".join(connection.iterdump()) + "\n"
        connection.close()
    target = Path(__file__).parent / f"{len(numbered(MIGRATIONS)):04}.sql"
    target.write_text(script, encoding="utf-8")
    print(f"{target}: {len(script)} characters")


if __name__ == "__main__":
    main()
