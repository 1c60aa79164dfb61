"""`map explain`: every field accounted for, by the rules of a feed or by none; hostile text shown safely."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.cli.setup.init import packaged
from tests.cli.conftest import Ended, message

Command = Callable[..., Ended]
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
SAMPLES = sorted(path for path in packaged("sample_messages").glob("*.hl7") if not path.name.endswith(".ack.hl7"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.hl7"
    path.write_bytes(message() + b"ZZZ|\x1b[31mred\x1b[0m\r")
    return path


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    (tmp_path / "nowhere").mkdir()
    return tmp_path / "nowhere"


def test_shows_where_each_value_comes_from(command: Command, file: Path, nowhere: Path) -> None:
    ended = command("map", "explain", file, "--config", nowhere)
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines()]
    name = next(row for row in rows if row and row[0] == "Practitioner.name")
    assert name[-3:] == ["person_name", "STF-3", "Okonkwo^Adaeze"]
    assert '"family":"Okonkwo"' in name[1]
    assert "ZZZ" in ended.out
    assert "No configuration here" in ended.err
    assert "\x1b" not in ended.out


def test_every_field_is_accounted_for(command: Command, file: Path, nowhere: Path) -> None:
    [found] = command("map", "explain", file, "--json", "--config", nowhere).json["messages"]
    fields = found["fields"]
    assert fields["valued"] == fields["used"] + fields["dropped"] + fields["unused"] + fields["unknown"]
    assert [segment["name"] for segment in found["unknown_segments"]] == ["ZZZ"]
    assert ("STF-2", "NORTH") in [(code["field"], code["code"]) for code in found["unmapped_codes"]]
    assert found["records"] == [{"position": 1, "action": "add", "source_key": "E100", "failed": False}]


def test_what_a_destination_does_not_get_is_told(command: Command, site: Path, nowhere: Path) -> None:
    sample = packaged("sample_messages") / "01-add-physician.hl7"
    [found] = command("map", "explain", sample, "--json", "--config", site).json["messages"]
    assert [(row["element"], row["field"]) for row in found["withheld"]["ehr"]] == [
        ("Practitioner.birthDate", "STF-6"),
        ("Practitioner.telecom", "STF-10[3]"),
    ]
    assert "not sent to ehr ([elements] of" in command("map", "explain", sample, "--config", site).out
    destination = site / "conf/destinations/ehr.toml"
    destination.write_text(destination.read_text().replace("# birth_date = false", "birth_date = true"))
    destination.write_text(destination.read_text().replace("# roles = true", "roles = false"))
    [found] = command("map", "explain", sample, "--json", "--config", site).json["messages"]
    kept_back = [row["element"] for row in found["withheld"]["ehr"]]
    assert "Practitioner.birthDate" not in kept_back
    assert "PractitionerRole.organization" in kept_back
    [found] = command("map", "explain", sample, "--json", "--config", nowhere).json["messages"]
    assert found["withheld"] == {}


def test_the_feeds_own_rules_count(command: Command, site: Path, file: Path) -> None:
    feed = site / "conf/feeds/staff.toml"
    feed.write_text(feed.read_text().replace("[authorities]\n", '[authorities]\nNORTH = "urn:oid:1.2.3"\n'))
    [found] = command("map", "explain", file, "--json", "--config", site).json["messages"]
    systems = [row["value"]["system"] for row in found["values"] if row["element"] == "Practitioner.identifier"]
    assert "urn:oid:1.2.3" in systems
    assert "STF-2" not in [code["field"] for code in found["unmapped_codes"]]
    assert command("map", "explain", file, "--feed", "none", "--config", site).code == 2


def test_a_record_that_cannot_be_mapped_ends_with_1(command: Command, file: Path, nowhere: Path) -> None:
    file.write_bytes(message().replace(b"Okonkwo^Adaeze", b""))
    ended = command("map", "explain", file, "--config", nowhere)
    assert ended.code == 1
    assert "E STF-3.1: family-name-missing" in ended.out


def test_what_is_no_staff_message_is_said_to_be_none(command: Command, file: Path, nowhere: Path) -> None:
    file.write_bytes(message().replace(b"MFN^M02^MFN_M02", b"ADT^A01"))
    ended = command("map", "explain", file, "--json", "--config", nowhere)
    assert ended.code == 1
    assert ended.json["messages"][0]["error"]


def test_all_shows_the_frame_and_what_is_left_out(command: Command, file: Path, nowhere: Path) -> None:
    assert "frames the message" not in command("map", "explain", file, "--config", nowhere).out
    assert "    MSH-10        X1" in command("map", "explain", file, "--all", "--config", nowhere).out


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_explained_and_viewed(command: Command, path: Path, nowhere: Path) -> None:
    for arguments in (("map", "explain", path, "--config", nowhere), ("view", path)):
        shown, data = command(*arguments), command(*arguments, "--json")
        assert shown.code in (0, 1)
        assert shown.code == data.code
        assert data.json["messages"]


def test_nothing_in_the_corpus_is_beyond_view_and_explain(command: Command, nowhere: Path) -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"no corpus at {CORPUS}")
    folders = sorted({path.parent for path in CORPUS.rglob("*.hl7")})
    assert folders
    for folder in folders:
        for arguments in (("view", folder, "--json"), ("map", "explain", folder, "--json", "--config", nowhere)):
            ended = command(*arguments)
            assert ended.code in (0, 1), (folder, ended.err)
            assert ended.json["messages"]


def test_accounts_add_up_and_remarks_tell_what_the_standard_does_not_foresee(
    command: Command, file: Path, nowhere: Path
) -> None:
    file.write_bytes(file.read_bytes().replace(b"|P|F|", b"|P|F~M|"))
    ended = command("map", "explain", file, "--config", nowhere)
    sums = next(line for line in ended.out.splitlines() if " segments, " in line)
    numbers = [int(word) for word in sums.split(";")[1].split() if word.isdecimal()]
    assert numbers[0] == sum(numbers[1:]) > 20
    assert sums.startswith("6 segments, 1 unknown; ")
    assert "STF-5         2 values, of which 2.5.1 allows 1" in ended.out
    [found] = command("map", "explain", file, "--json", "--config", nowhere).json["messages"]
    assert {"place": "STF-5", "text": "2 values, of which 2.5.1 allows 1"} in found["remarks"]
