"""The seed of a program here: another one with each run, printed, and given again to repeat what was seen."""

from __future__ import annotations

import argparse

from tests.examples import fresh_seed


def add_seed(parser: argparse.ArgumentParser) -> None:
    """The option `--seed`."""
    parser.add_argument("--seed", type=int, default=fresh_seed(), help="what is drawn (default: another each time)")
