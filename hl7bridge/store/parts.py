"""The store, of whatever kind: its parts over one connection, which they share."""

from __future__ import annotations

from typing import Self

from hl7bridge.store.braking import Braking
from hl7bridge.store.connection import StoreConnection
from hl7bridge.store.deciding import Deciding
from hl7bridge.store.dropping import Dropping
from hl7bridge.store.exporting import Exporting
from hl7bridge.store.full_file import FullFiles
from hl7bridge.store.jobs import Jobs
from hl7bridge.store.linking import Linking
from hl7bridge.store.modes import Modes
from hl7bridge.store.reloading import Reloading


class StoreOfParts(Deciding, Modes, Braking, FullFiles, Dropping):
    """A `Store` over a connection, which it closes with itself.

    The parts that stand apart by now are attributes; what `Store` asks of them goes to them as it is.
    """

    def __init__(self, connection: StoreConnection) -> None:
        super().__init__(connection)
        self.schedule = Jobs(connection)
        self.last_run, self.begin_job = self.schedule.last_run, self.schedule.begin_job
        self.renew_job, self.end_job = self.schedule.renew_job, self.schedule.end_job

        self.links = Linking(connection)
        self.quarantined, self.link_of, self.linked_to = (
            self.links.quarantined,
            self.links.link_of,
            self.links.linked_to,
        )
        self.said_by, self.link, self.id_map = self.links.said_by, self.links.link, self.links.id_map
        self.import_ids = self.links.import_ids

        self.reloading = Reloading(connection)
        self.ask_reload, self.reload_asked = self.reloading.ask_reload, self.reloading.reload_asked
        self.answer_reload, self.withdraw_reload = self.reloading.answer_reload, self.reloading.withdraw_reload
        self.reloads = self.reloading.reloads

        self.export = Exporting(connection).export
        self.check_files = connection.check

    def close(self) -> None:
        """Close the connection; a store that is closed twice does not mind."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
