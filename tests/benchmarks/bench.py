"""What the benchmarks share: the reference programs, child processes pinned to a core, rounds taken in turn, tables.

A figure alone says little on a shared machine. Every program runs ours and the reference in turn in one process, takes
medians, and prints the ratio; nothing is asserted.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT.parent / "shared" / "bench"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def reference(program: str) -> Path | None:
    """The reference program of that name, None (said aloud) when it is not there. Its folder becomes importable."""
    path = REFERENCE / program
    if not path.exists():
        print(f"{path} is not there: {program} is left out, no ratio", file=sys.stderr)
        return None
    if str(REFERENCE) not in sys.path:
        sys.path.insert(0, str(REFERENCE))
    return path


def pinned(core: int) -> Callable[[], None] | None:
    """For `preexec_fn`: the child runs on this core alone (0 = the first one we have). None on one core."""
    if len(CORES) < 2:
        return None
    return lambda: os.sched_setaffinity(0, {CORES[core]})


def pin_self(core: int) -> None:
    """This process, and the threads that it starts from now on, run on this core alone."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[core]})


@contextmanager
def child(command: Sequence[str | Path], core: int = 0, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process on a core of its own; its standard input is closed, then it is ended by its pid."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=pinned(core),
        **options,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextmanager
def fast_target(*, echo: bool = False, core: int = 0) -> Iterator[int]:
    """tests/benchmarks/target.py; yields its port."""
    command = [sys.executable, "-m", "tests.benchmarks.target", *(["--echo"] if echo else [])]
    with child(command, core, cwd=ROOT) as process:
        assert process.stdout
        yield int(process.stdout.readline())


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def median(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    values = [row[name] for row in rows if row.get(name) is not None]
    return statistics.median(values) if values else 0.0


def span(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """`median [least-most]`, as facts/performance.md prints figures."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return f"{statistics.median(values):,.0f} [{min(values):,.0f}-{max(values):,.0f}]" if values else "-"


def ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if theirs else "-"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)
