"""For all tests: hypothesis tries the same examples with each run, unless a seed is asked for (tests/examples.py)."""

from __future__ import annotations

from hypothesis import settings

from tests.examples import is_fixed

settings.register_profile("fixed", derandomize=True, database=None, print_blob=True)
settings.register_profile("seeded", derandomize=False, print_blob=True)
settings.load_profile("fixed" if is_fixed() else "seeded")
