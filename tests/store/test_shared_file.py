"""Several connections of one process and other programs share the file without losing what was committed."""

import subprocess
import sys

SCRIPT = """
import os, signal, sys
from hl7bridge.store.opening import open_store
first = open_store(sys.argv[1])
second = open_store(sys.argv[1])      # another thread's connection in the same process
print("open", flush=True)
sys.stdin.readline()                  # meanwhile another program opened and closed the store
print(first.audit.secret("written-after").hex(), flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""

LOOK = """
import sys
from hl7bridge.store.opening import open_store
store = open_store(sys.argv[1])
print(store.audit.secret(sys.argv[2]).hex())
store.close()
"""


def look(path, name):
    return subprocess.run(
        [sys.executable, "-c", LOOK, str(path), name], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_program_that_opens_and_closes_the_store_takes_nothing_with_it(tmp_path):
    """The close of another program must not delete the write-ahead log of a process with several connections."""
    path = tmp_path / "store.db"
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        look(path, "by-another")
        print("go", file=process.stdin, flush=True)
        committed = process.stdout.readline().strip()
        print("go", file=process.stdin, flush=True)
    assert look(path, "written-after") == committed
