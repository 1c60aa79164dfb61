"""`view`: names, meanings, null, what is odd; and the names that it takes from hl7apy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.cli.messages.names import VERSIONS, names
from hl7bridge.invented.feed import FeedPlan, feed
from tests.cli.conftest import Ended, message

Command = Callable[..., Ended]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.hl7"
    path.write_bytes(message())
    return path


def lines(ended: Ended) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().split("  ") if cell.strip()] for line in ended.out.splitlines()]


def test_shows_names_values_and_meanings(command: Command, file: Path) -> None:
    ended = command("view", file)
    assert ended.code == 0
    shown = lines(ended)
    assert ["STF", "staff identification"] in shown
    assert ["STF-3.1", "Family name", "Okonkwo"] in shown
    assert ["STF-7", "Active inactive flag", "A", "active"] in shown
    assert ["MFE-1", "Record level event code", "MAD", "add"] in shown
    assert ["PRA-7.1", "Privilege", "1234567893"] in shown


def test_null_is_a_thing_of_its_own(command: Command, file: Path) -> None:
    assert ["STF-8", "Department", '""', "null: clear it"] in lines(command("view", file))
    [found] = command("view", file, "--json").json["messages"]
    fields = next(segment for segment in found["segments"] if segment["segment"] == "STF")["fields"]
    department = next(field for field in fields if field["path"] == "STF-8")
    assert department["values"] == [
        {"path": "STF-8", "name": "Department", "value": None, "null": True, "meaning": "", "note": ""}
    ]
    assert "STF-9" not in [field["path"] for field in fields]


def test_all_shows_empty_fields_too(command: Command, file: Path) -> None:
    assert ["STF-9", "Hospital service STF"] in lines(command("view", file, "--all"))


def test_raw_is_the_text_made_safe(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "b.hl7"
    path.write_bytes(message() + b"ZZZ|\x1b]0;x\x07|\xe2\x80\xaeabc\r")
    ended = command("view", path, "--raw")
    assert ended.out.splitlines()[-1] == "ZZZ|\\x1b]0;x\\x07|\\u202eabc"
    assert len(ended.out.splitlines()) == 6
    assert "\x1b" not in command("view", path).out


def test_repetitions_and_occurrences_are_written_as_paths(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "c.hl7"
    path.write_bytes(message() + b"STF|E2||Ito^Ken~Ito^Kenji\r")
    shown = lines(command("view", path))
    assert ["STF[2]-3[2].2", "Given name", "Kenji"] in shown
    assert ["STF (2)", "staff identification"] in shown


def test_what_is_odd_is_told(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "d.hl7"
    text = (
        message().replace(b"MFE|MAD|C1||E100|CE", b"MFE|XXX|C1||E100|CE|x|y").replace(b"\r", b"\n") + b"QQQ|1\nZAB|1\n"
    )
    path.write_bytes(text)
    told = [line for line in command("view", path).out.splitlines() if line.startswith("! ")]
    assert "! MFE-1: not in HL7 table 0180" in told
    assert "! MFE-6: 2.5.1 has no such field" in told
    assert "! QQQ: not a segment of HL7 2.5.1" in told
    assert "! message: line-feed" in told
    assert not [line for line in told if "ZAB" in line], "a site's own segment is in order"


def test_batches_frames_and_folders(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(b"FHS|^~\\&\rBHS|^~\\&\r" + message("B1") + message("B2") + b"BTS|2\rFTS|1\r")
    (tmp_path / "b.hl7").write_bytes(b"\x0b" + message("F1") + b"\x1c\r\x0b" + message("F2") + b"\x1c\r")
    (tmp_path / "b.ack.hl7").write_bytes(message("NOT"))
    found = command("view", tmp_path, "--json").json["messages"]
    assert [one["control_id"] for one in found] == ["B1", "B2", "F1", "F2"]


def test_character_sets(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "e.hl7"
    path.write_bytes(message().replace(b"Okonkwo", "Müller".encode("cp1250")))
    assert command("view", path, "--charset", "utf-8").code == 1
    ended = command("view", path, "--charset", "utf-8", "--charset", "cp1250", "--json")
    assert ended.json["messages"][0]["character_set"] == "cp1250"


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(command: Command, tmp_path: Path) -> None:
    (tmp_path / "1.hl7").write_bytes(b"hello")
    (tmp_path / "2.hl7").write_bytes(message())
    ended = command("view", tmp_path)
    assert ended.code == 1
    assert "1.hl7: the message does not begin with an MSH segment" in ended.err
    assert "STF-3.1" in ended.out


def test_an_empty_file_is_no_message(command: Command, tmp_path: Path) -> None:
    (tmp_path / "1.hl7").write_bytes(b"\r\n")
    ended = command("view", tmp_path / "1.hl7")
    assert ended.code == 1
    assert "there is no message in" in ended.err


@pytest.mark.parametrize(
    "version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.9"]
)
def test_every_version_has_names(version: str) -> None:
    known = names(version)
    assert known.field("STF", 3).text.startswith("Staff name")
    assert known.field("MSA", 3).text == "Text message", "withdrawn in 2.7, still called so"
    assert known.field("STF", 99).text == ""
    assert known.meaning("0180", "MDC") == "deactivate, keep the record"


@pytest.mark.parametrize("version", ["", "9.9", "2"])
def test_an_unknown_version_reads_by_another(version: str) -> None:
    assert names(version).version == "2.5.1"


def test_colours_where_they_are_asked_for(command: Command, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(message() + b"ZZZ|x\rQQQ|y\r")
    plain = command("view", file).out
    assert "\x1b" not in plain
    assert ["ZZZ", "site-defined segment"] in lines(command("view", file))
    assert ["QQQ", "unknown segment"] in lines(command("view", file))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    coloured = command("view", file).out
    assert "\x1b[" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured).split() == plain.split()


@pytest.mark.parametrize("kind", ["pmu", "adt"])
def test_other_staff_messages_are_read_as_well(command: Command, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.hl7"
    [made] = feed(FeedPlan(kind, 3, 1, "2.8", size="large"))
    path.write_bytes(made.body)
    shown = lines(command("view", path))
    names_shown = {line[0]: line[1] for line in shown if len(line) > 2}
    assert names_shown["STF-3.1" if kind == "pmu" else "PV1-7.2"] == "Family name"


def test_components_are_named_by_their_number_in_every_version() -> None:
    """hl7apy leaves out what a version has withdrawn: XTN.1 since 2.6, DG1-7; and 2.2 and 2.3 have a telephone as text."""
    for version in VERSIONS[1:]:
        phone = names(version).field("STF", 10)
        assert [phone.component(number).text for number in (2, 5)] == ["Telecommunication use code", "Country code"]
        assert phone.component(3).text.startswith("Telecommunication equipment type")
        assert phone.component(1).text in ("Phone", "Telephone number", "999 999 9999 x99999 c any text")
    assert (names("2.6").fields("DG1"), names("2.5").fields("DG1")) == (26, 21)
    assert names("2.6").field("DG1", 15).text == "Diagnosis priority"
    assert names("2.5").field("STF", 10).component(99).text == "component 99"


def test_another_reader_is_asked(command: Command, file: Path, tmp_path: Path) -> None:
    """Every field of a message in order agrees; where a sender names one separator only, the two read another message."""
    ended = command("view", file, "--compare")
    assert ended.code == 0
    assert re.search(r"python-hl7 reads [1-9]\d+ fields alike, 0 otherwise", ended.out)
    (tmp_path / "odd.hl7").write_bytes(message().replace(b"|^~\\&|", b"|^|", 1).replace(b"Okonkwo", b"Okon~kwo"))
    [told] = command("view", tmp_path / "odd.hl7", "--compare", "--json").json["messages"]
    assert {"place": "STF-3", "text": "python-hl7 splits it into other repetitions or components"} in told[
        "python_hl7"
    ]["differences"]
    (tmp_path / "lf.hl7").write_bytes(message().replace(b"\r", b"\r\n"))
    assert ", 0 otherwise" in command("view", tmp_path / "lf.hl7", "--compare").out
