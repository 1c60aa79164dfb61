"""The demo as a user runs it: one command, its real processes, what it prints, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.cli.messages.mllp_client import MllpAnswer, MllpClient, Sent
from hl7bridge.cli.output import ExitCode
from hl7bridge.cli.tools import demo, samples
from hl7bridge.cli.tools.stage import Played, SeenWrite, Stage

ON_LINUX = sys.platform == "linux"
COMMAND = [sys.executable, "-m", "hl7bridge", "demo"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The temporary folder of the demo below `folder`; settings in the environment that must not reach it."""
    own = {"TMPDIR": str(folder), "TMP": str(folder), "TEMP": str(folder), "PYTHONIOENCODING": "utf-8"}
    return {**os.environ, **own, "HL7BRIDGE_SERVICE__PROCESSING_ID": "T", **more}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "processes of the demo are left"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """Processes below that one, however deep; none where there is no /proc."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children_of(child)]
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_kept_running_it_met_all_and_takes_more_until_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--keep", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp_path)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        said = json.loads(process.stdout.readline())
        assert said["schema"] == "demo/1"
        assert [message for message in said["messages"] if message["differences"]] == []
        assert len(said["messages"]) == said["totals"]["met"] == len(samples.load())
        assert said["met"] is True
        assert said["listener"].startswith("127.0.0.1:")
        assert said["sandbox"].startswith("http://127.0.0.1:")
        assert len(said["practitioners"]) == said["totals"]["resources"]["Practitioner"]

        sample = next(sample for sample in samples.load() if sample.name == "03-nothing-new")
        host, _, port = said["listener"].rpartition(":")
        with MllpClient(host, int(port)) as client:
            assert client.send(sample.message).good

        below = children_of(process.pid)
        if ON_LINUX:
            assert len(below) == 3, "the sandbox, the bridge and its delivery role"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == ExitCode.GOOD
        assert process.stderr.read() == b""
        wait_until_gone([*said["processes"], *below])
        assert list(tmp_path.iterdir()) == []
    finally:
        end(process)


def test_what_people_read_fits_80_columns_and_nothing_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND, capture_output=True, timeout=120, env=environment(tmp_path, COLUMNS="80"), check=False
    )
    text = done.stdout.decode("utf-8")
    assert done.returncode == ExitCode.GOOD, text + done.stderr.decode()
    assert done.stderr == b""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("message"))
    until = lines.index("Next")
    assert [line for line in lines[begin:until] if len(line) > 80] == []
    for sample in samples.load():
        assert any(line.startswith(sample.name) for line in lines[begin:until]), sample.name
    for words in ("sandbox ", "listener ", "store ", "Practitioner ", "ERR-2", "To do", "A duplicate ", "A no-op "):
        assert any(line.lstrip().startswith(words) for line in lines), words
    count = len(samples.load())
    assert any(line.startswith("Expectations") and f"{count} of {count} met" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not ON_LINUX, reason="looks at /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_ended_while_it_starts_it_leaves_nothing(number: signal.Signals, code: int, tmp_path: Path) -> None:
    process = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(tmp_path))
    try:
        deadline = time.monotonic() + 60
        while not (below := children_of(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        assert process.wait(30) == code
        wait_until_gone(below)
        assert list(tmp_path.iterdir()) == []
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Whatever happened: the demo's own process and its pipes."""
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def test_a_difference_is_shown_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a stage that plays nothing: one sample met, one not."""
    trios = samples.load()[:2]

    class Played2(Stage):
        def __enter__(self) -> Stage:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def play(self, sample: samples.Sample) -> Played:
            differences = () if sample is trios[0] else ("segment 2: expected MSA|AA|1, got MSA|AE|1",)
            return Played(
                sample, Sent("1", "MFN^M02", [MllpAnswer("AE", "1", "no", 1.0, b"")], 1), (), (), 0, differences
            )

        def practitioners(self) -> list[dict[str, Any]]:
            return []

        def counts(self) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(samples, "load", lambda: trios)
    monkeypatch.setattr("hl7bridge.cli.tools.stage.Stage", Played2)
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(demo.typer.Exit) as ended:
        demo.demo(keep=False, json_output=False)
    shown = capsys.readouterr().out
    assert ended.value.exit_code == ExitCode.FINDINGS
    assert f"! {trios[1].name}: segment 2: expected MSA|AA|1, got MSA|AE|1" in shown
    assert "1 of 2 met" in shown


@pytest.mark.parametrize(
    ("writes", "result", "expected"),
    [
        ({"Practitioner": ["create 201"], "PractitionerRole": ["create 201"] * 3}, "created", "create 201 + 3 roles"),
        (
            {"Practitioner": ["update 200"], "PractitionerRole": ["create 201"]},
            "updated",
            "update 200, role create 201",
        ),
        ({"PractitionerRole": ["update 200", "update 200"]}, "updated", "2 roles update 200"),
        ({}, "unchanged", "nothing (unchanged)"),
        ({}, "scheduled", "nothing yet"),
        ({}, "duplicate", "nothing (duplicate)"),
        ({}, "unknown-event", "not sent"),
    ],
)
def test_writes_in_words(writes: Mapping[str, list[str]], result: str, expected: str) -> None:
    made = [
        SeenWrite(did.split()[0], kind, int(did.split()[1]), "S1", "1") for kind, each in writes.items() for did in each
    ]
    other = SeenWrite("update", "Practitioner", 200, "S2", "7")
    assert demo._fhir(samples.SampleRecord("MAD", "S1", result), [*made, other]) == expected
