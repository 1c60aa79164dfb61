"""What every role does with its own process before anything else."""

from __future__ import annotations

import os
import sys

if sys.platform != "win32":
    import resource


def settle_in() -> None:
    """Leave no memory behind in a core dump, which would hold messages, tokens and keys; and take the numbers of standard
    streams that are closed, so that no line for them is ever written into the store."""
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
