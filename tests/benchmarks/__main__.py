"""python -m tests.benchmarks NAME | all | --list     prints figures and ratios of one run; asserts nothing."""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = {
    "accept": "durable accept beside durable_server.py thread",
    "mapping": "read and map beside plain_parse.py",
    "delivery": "delivery beside deliver.py --client httpx",
}


def main() -> int:
    if "--list" in sys.argv[1:]:
        for name, text in NAMES.items():
            print(f"{name:10} {text}")
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    commands.add_parser("all", help="each of them with its defaults")
    modules = {}
    for name, text in NAMES.items():
        modules[name] = importlib.import_module(f"tests.benchmarks.{name}")
        modules[name].add_options(commands.add_parser(name, help=text))
    options = parser.parse_args()
    for name in NAMES if options.name == "all" else [options.name]:
        modules[name].main(options if options.name == name else parser.parse_args([name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
