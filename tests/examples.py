"""How many examples hypothesis tries: few with every run, more where somebody asks for them.

`HL7BRIDGE_TEST_EXAMPLES` multiplies the numbers; `python -m tests.acceptance properties` sets it.
"""

from __future__ import annotations

import os

VARIABLE = "HL7BRIDGE_TEST_EXAMPLES"


def examples(number: int) -> int:
    """`number`, times what the environment asks for."""
    return number * max(1, int(os.environ.get(VARIABLE) or 1))
