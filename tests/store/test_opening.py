"""From the [store] setting to a store: of a second kind as well, made known by one entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.errors import ConfigError
from hl7bridge.store import opening
from hl7bridge.store.sqlite.migrations import MIGRATIONS
from tests.cli.conftest import Ended, command
from tests.desk.conftest import Office, office, person
from tests.store.watched import WatchedKind

__all__ = ["command", "office"]


@pytest.fixture
def kept_elsewhere(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site whose store, with a message in it, is of the second kind."""
    office.take_in(person("E1", "X1"))
    folder = Path(office.settings.store.path).parent
    monkeypatch.setitem(opening.KINDS, "watched", WatchedKind(folder))
    path = office.settings.directory / "conf/hl7bridge.toml"
    path.write_text(path.read_text() + f'[store]\npath = "watched://{Path(office.settings.store.path).name}"\n')
    return office.settings.directory


def test_a_second_kind_is_checked_examined_and_asked(kept_elsewhere: Path, command: Callable[..., Ended]) -> None:
    checked = command("check", kept_elsewhere).out
    assert "good     store: a watched database" in checked
    assert "MFI-1" in checked, "its messages were read"
    assert "ok       store: a watched database" in command("doctor", "-c", kept_elsewhere).out
    assert len(command("msg", "list", "--json", "-c", kept_elsewhere).json["messages"]) == 1


@pytest.mark.parametrize("location", ["oracle://host/db", "SQLITE://x.db", "://x"])
def test_there_is_no_other_kind(location: str) -> None:
    for ask in (opening.open_store, opening.file_of, opening.mark_of, opening.is_current, opening.engine_of):
        with pytest.raises(ConfigError, match="there is no store of the kind"):
            ask(location)


def test_where_a_file_is(tmp_path: Path) -> None:
    assert opening.file_of("data/s.db") == opening.file_of("sqlite:///data/s.db") == Path("data/s.db")
    assert opening.file_of("sqlite:////var/s.db") == Path("/var/s.db")
    assert not opening.is_current(tmp_path / "none.db")
    assert opening.engine_of("s.db").schema == len(list(MIGRATIONS.glob("*.sql")))
