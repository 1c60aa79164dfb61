"""python -m tests.fuzz TARGET [--runs N] [--seconds S] [--seed N]     go on until something fails, or time is up.

With atheris (https://github.com/google/atheris) guided by coverage; without it by seeded mutations, which says so.
Exit code 1 when something failed: its bytes are then in a file of the current folder, whose name is printed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import traceback
from pathlib import Path

from tests.examples import fresh_seed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=["codec", "reader", "batch", "mapping"])
    parser.add_argument("--runs", type=int, default=10_000_000, help="inputs at most (default 10,000,000)")
    parser.add_argument("--seconds", type=int, default=60, help="time at most (default 60)")
    parser.add_argument(
        "--seed", type=int, default=fresh_seed() % 2**31, help="what is drawn (default: another each time)"
    )
    options = parser.parse_args()
    print(f"{options.target}: seed {options.seed}, {options.seconds} s at most", flush=True)
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: seeded mutations, which do not see what they reach", flush=True)
        return by_mutations(options)
    with atheris.instrument_imports(include=["hl7bridge.hl7", "hl7bridge.mapping", "hl7bridge.intake"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.mutating import CORPUS, LONGEST

    limits = [
        f"-max_total_time={options.seconds}",
        f"-runs={options.runs}",
        f"-seed={options.seed}",
        f"-max_len={LONGEST}",
    ]
    samples = str(CORPUS.parents[2] / "sample_messages")
    # The first folder is where libFuzzer keeps what reaches something new: not among ours.
    new = Path("fuzz-corpus") / options.target
    new.mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], *limits, "-timeout=10", str(new), str(CORPUS), samples], TARGETS[options.target])
    atheris.Fuzz()
    return 0


def by_mutations(options: argparse.Namespace) -> int:
    from tests.fuzz.mutating import stream
    from tests.fuzz.targets import TARGETS

    target, until, count = TARGETS[options.target], time.monotonic() + options.seconds, 0
    for count, raw in enumerate(itertools.islice(stream(options.seed), options.runs), 1):
        try:
            target(raw)
        except Exception:
            path = Path(f"crash-{options.target}-{options.seed}-{count}")
            path.write_bytes(raw)
            traceback.print_exc()
            print(f"input {count:,} failed; it is in {path}")
            return 1
        if not count % 100 and time.monotonic() > until:
            break
    print(f"{count:,} inputs, none failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
