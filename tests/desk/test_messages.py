"""Finding stored messages, and the files of drop folders, without a command."""

from __future__ import annotations

import pytest

from hl7bridge.desk import messages, reports
from hl7bridge.errors import ConfigError
from tests.cli.conftest import message
from tests.desk.conftest import Office, person


def test_lists_page_and_filter(office: Office) -> None:
    office.take_in(person("E100", "X1"), person("E200", "X2"), person("E100", "X3"))
    found = messages.find(office.store, limit=2)
    assert ([one.control_id for one in found.messages], bool(found.next)) == (["X3", "X2"], True)
    mine = messages.find(office.store, person="E100", state="accepted")
    assert ([one.control_id for one in mine.messages], bool(mine.next)) == (["X3", "X1"], False)
    with pytest.raises(ConfigError, match='"lost" is no state'):
        messages.find(office.store, state="lost")


def test_a_message_is_meant_by_its_id_or_by_a_control_id(office: Office) -> None:
    office.take_in(message("X1"), message("X1").replace(b"Adaeze", b"Ada"))
    assert messages.ids_of(office.store, "1") == (1,)
    assert messages.ids_of(office.store, "X1") == (2, 1)
    for unknown in ("7", "", "X9", "1" * 30):
        with pytest.raises(ConfigError, match="there is no message"):
            messages.ids_of(office.store, unknown)


def test_dropped_files_and_how_far_they_are_read(office: Office) -> None:
    begun = office.store.drops.begin_drop_file("staff", "night.hl7", "1", 200, 1.0)
    [file] = reports.drop_files(office.store, office.settings, "staff", under_way=True)
    assert (file, reports.percent_read(file)) == (begun, 0)
    assert reports.percent_read(office.store.drops.settle_drop_file(file, "done", 2.0)) == 100
    data = reports.drop_data(file)
    assert (data["name"], data["bytes"], data["began"]) == ("night.hl7", 200, "1970-01-01T00:00:01.000+00:00")
    with pytest.raises(ConfigError, match='there is no feed "hr"'):
        reports.drop_files(office.store, office.settings, "hr")
