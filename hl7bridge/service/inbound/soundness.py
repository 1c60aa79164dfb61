"""Whether the store still holds what is written there: where its pages are damaged, nothing more is taken.

The listener would not see it for long, for it writes behind the damage; the delivery role reads, and ends by it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from hl7bridge.errors import StoreDamaged, StoreError
from hl7bridge.service.log import Log
from hl7bridge.store.store import Store

LOOK_OVER = 1.0
"""Seconds that a look takes at most: 100 MB or more."""

WHAT_TO_DO = "stop the service, keep a copy of its files, and restore it from a backup"


def look_over(store: Store, log: Log) -> None:
    """After a stop that was not in order: whether the store is sound. Raises StoreDamaged where it is not.

    A crash leaves it sound: SQLite sees to that, on disks that keep what they say they have written."""
    sound = store.connection.looks_sound(LOOK_OVER)
    if sound is None:
        log.info("the store is too large to be looked over at a start", seconds=LOOK_OVER)
    elif not sound:
        raise StoreDamaged(f"the store is damaged: {WHAT_TO_DO}")


class Soundness:
    """Of one store, as long as this process runs. `holds`: whether messages may be taken."""

    def __init__(self, open_store: Callable[[], Store], log: Log) -> None:
        self._open_store, self._log = open_store, log
        self.holds = True

    def doubt(self, exit_code: int) -> None:
        """A role ended by itself with that code: look the store over, unless it was killed."""
        if exit_code <= 0 or not self.holds:
            return
        try:
            with closing(self._open_store()) as store:
                self.holds = store.connection.looks_sound(LOOK_OVER) is not False
        except StoreDamaged:
            self.holds = False
        except StoreError:
            return  # busy, or the disk is full: whoever writes meets that as well, and it passes
        if not self.holds:
            self._log.error("the store is damaged, messages refused", text=WHAT_TO_DO)
