"""`map lint`, `map test`, `map dictionary`: an analyst's tools for a site's map."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.cli.tools.samples import FEED_SETTINGS, KEY_SYSTEM, load
from hl7bridge.intake.intake import Intake
from hl7bridge.store.sqlite import SqliteStore
from tests.bridges import Feed, destination, write_configuration
from tests.cli.conftest import Ended
from tests.mapping.building import message, mfe, stf

Command = Callable[..., Ended]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    feed = Feed("staff", "urn:uuid:2f9a7c1e-8d36-4f0b-9c55-1b7de2a40c11", settings={"map": "kings"})
    write_configuration(tmp_path, [feed], {"fhir": destination("http://127.0.0.1:9/fhir")})
    (tmp_path / "conf" / "maps").mkdir()
    (tmp_path / "conf" / "tables").mkdir()
    write(tmp_path, "")
    return tmp_path


def write(site: Path, text: str) -> None:
    (site / "conf" / "maps" / "kings.toml").write_text(text, encoding="utf-8")


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ('\n\nkez = ["STF-1"]', "conf/maps/kings.toml:3: kez", "unknown key"),
        ('[practitioners]\nstaff_type = ["X"]', "conf/maps/kings.toml:2: practitioners.staff_type", "unknown key"),
        ('[fields]\n"STF-5" = { rul = "gender" }', "conf/maps/kings.toml:2: fields.STF-5", 'unknown key "rul"'),
        ('[fields."STF-x"]\ndrop = "x"', "conf/maps/kings.toml:1: fields", '"STF-x" is not a field'),
        ("[shift]\nSTF = { from = 10 }", "conf/maps/kings.toml:2: shift.STF", "missing"),
        ('[tables]\n"0182" = "../x.csv"', "conf/maps/kings.toml:1: tables", "not the name of a CSV file"),
        ('\n[tables]\n"0182" = "gone.csv"', "conf/maps/kings.toml:3: tables.0182", "there is no conf/tables/gone.csv"),
        ('[authorities]\nHR = "none"', "conf/maps/kings.toml:2: authorities.HR", "not an absolute URI"),
        ('[review]\nnext = "soon"', "conf/maps/kings.toml:2: review.next", "is not a day"),
    ],
)
def test_a_map_that_cannot_be_read_says_the_line(site: Path, text: str, place: str, problem: str) -> None:
    write(site, text)
    settings, problems = config.examine(site, {})
    assert settings is None
    assert any(str(one).startswith(place) and problem in str(one) for one in problems), [str(one) for one in problems]


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        (b"kode,stands_for\nA,B\n", "1", "other columns"),
        (b"code,stands_for\nA,B,C\n", "2", "3 cells"),
        (b"code,stands_for\nA,B\n\nA,C\n", "4", "line 2 already"),
        (b"code,stands_for\n,B\n", "2", "the code is empty"),
        (b"code,stands_for\nA,\xff\n", "", "not UTF-8"),
    ],
)
def test_a_code_table_that_cannot_be_read_says_the_line(site: Path, content: bytes, place: str, problem: str) -> None:
    write(site, '[tables]\n"0182" = "types.csv"')
    (site / "conf" / "tables" / "types.csv").write_bytes(content)
    settings, problems = config.examine(site, {})
    assert settings is None
    (one,) = problems
    assert (one.file, problem in one.problem) == (f"conf/tables/types.csv{':' + place if place else ''}", True)


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_code_tables_as_spreadsheets_save_them(site: Path, separator: str, mark: bytes) -> None:
    text = "code,stands_for,comment\r\nDOC,MD,\r\nNP,NP\r\n".replace(",", separator)
    write(site, '[tables]\n"0182" = "types.csv"')
    (site / "conf" / "tables" / "types.csv").write_bytes(mark + text.encode())
    assert config.load(site, {}).feeds["staff"].site.tables == {"0182": {"DOC": "MD", "NP": "NP"}}


def test_a_feed_names_a_map_that_is_there(site: Path) -> None:
    (site / "conf" / "maps" / "kings.toml").rename(site / "conf" / "maps" / "king.toml")
    _, problems = config.examine(site, {})
    assert [str(one) for one in problems] == [
        'conf/feeds/staff.toml: map: there is no conf/maps/kings.toml. Did you mean "king"?'
    ]


# --- lint ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('[fields]\n"STF-99" = { rule = "email" }', 2, "no version of HL7 has this field"),
        ('[fields]\n"ZSF-3" = { to = "Practitioner.telecon", rule = "email" }', 2, "unknown element"),
        ('[fields]\n"ZSF-3" = { to = "Practitioner.name", rule = "email" }', 2, "does not give"),
        ('[fields]\n"ZSF-3" = { rule = "emial" }', 2, "unknown rule"),
        ('[fields]\n"ZSF-3" = { rule = "email", when = "is_dat" }', 2, "unknown condition"),
        ('[fields]\n"ZSF-3" = { to = "Practitioner.telecom" }', 2, "neither a rule nor a reason"),
        ('[fields]\n"STF-9" = { drop = "no", rule = "role_code" }', 2, "drops the field and says how"),
        ('[fields]\n"MSH-3" = { rule = "email" }', 2, "never reached"),
        ('[fields]\n\n"ZSF-3" = { rule = "role_code", table = "Z001" }', 3, "there is no table Z001"),
        ('[fields]\n"ZSF-4" = { rule = "site_identifier", authority = "HR" }', 2, "no authority of this map"),
        ('[fields]\n"ZSF-4" = { rule = "gender" }\n"ZSF-5" = { rule = "gender" }', 3, "another row reads"),
        ("[shift]\nSTF = [{ from = 10, by = 1 }, { from = 10, by = 2 }]", 2, "overlap"),
        ('[shift]\nSTF = { from = 10, by = -1 }\n[fields]\n"STF-9" = { drop = "x" }', 4, "never reached"),
        ('[tables.0999]\nA = "B"', 1, "no field uses this table"),
        ('[tables.0001]\nW = "female"\nX = "fem"', 3, "no target of table 0001"),
        ('[tables.0001]\nF = "F"', 2, "stands for itself"),
        ('key = ["STF-0x"]', 1, "no place of a key"),
        ('key = ["MFE-4"]', 1, "a PMU has no MFE"),
        ('key = ["MFE-4.1"]', 1, "a PMU has no MFE"),
        ('key = ["STF-2[EI]"]', 1, "as many that end somebody"),
    ],
)
def test_lint_finds_mistakes_with_their_line(site: Path, command: Command, text: str, line: int, problem: str) -> None:
    write(site, text)
    ended = command("map", "lint", "kings", "--json", "-c", str(site))
    assert ended.code == 1
    found = [(one["place"], one["problem"]) for one in ended.json["mistakes"]]
    assert any(place == f"conf/maps/kings.toml:{line}" and problem in told for place, told in found), found


def test_lint_names_tables_that_nobody_uses(site: Path, command: Command) -> None:
    (site / "conf" / "tables" / "left.csv").write_text("code,stands_for\n")
    ended = command("map", "lint", "-c", str(site))
    assert (ended.code, ended.out.count("conf/tables/left.csv: no map names this table")) == (1, 1)


def test_lint_is_content_with_good_maps(site: Path, command: Command) -> None:
    dialects = Path(__file__).parents[1] / "dialects"
    for folder in (site, dialects):
        assert command("map", "lint", "-c", str(folder)).code == 0
    for option in ("--rules", "--conditions"):
        ended = command("map", "lint", option, "--json")
        assert ended.code == 0
        assert all(row["name"] and row["meaning"] for row in ended.json["names"])
    assert command("map", "lint", "queens", "-c", str(site)).code == 2


# --- test ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def trios(tmp_path: Path) -> Path:
    folder = tmp_path / "trios"
    folder.mkdir()
    joins = message(mfe(), stf(f4="DOC", f5="F"), time="20260301120000+0000").replace(b"|C1|", b"|A1|")
    leaves = message(mfe("MDC"), time="20260302120000+0000").replace(b"|C1|", b"|A2|")
    (folder / "1-joins.hl7").write_bytes(joins)
    (folder / "2-leaves.hl7").write_bytes(leaves)
    return folder


def test_trios_are_written_reviewed_and_kept(site: Path, trios: Path, command: Command) -> None:
    assert command("map", "test", str(trios), "-c", str(site)).code == 1
    written = command("map", "test", str(trios), "--write", "-c", str(site))
    assert (written.code, written.out.count("to be reviewed")) == (1, 2)
    expected = (trios / "1-joins.expected.json").read_text()
    assert '"result": "created"' in expected
    assert '"result": "deactivated"' in (trios / "2-leaves.expected.json").read_text()
    again = command("map", "test", str(trios), "--json", "-c", str(site))
    assert (again.code, [row["differences"] for row in again.json["messages"]]) == (0, [[], []])

    # the map changes what comes out, and each difference is named
    write(site, '[tables.0182]\nDOC = "urn:oid:2.999.1|DOC|Doctor"\n[tables.0180]\nMDC = "remove"\n')
    changed = command("map", "test", str(trios), "-c", str(site))
    assert changed.code == 1
    assert "(PractitionerRole).code: expected" in changed.out
    write(site, '[placeholders]\nnames = ["Rossi^*"]\n')
    ended = command("map", "test", str(trios), "-c", str(site))
    assert "record 1: result expected 'created', got 'nothing-to-do'" in ended.out
    assert "S^placeholder^HL70181" in ended.out
    write(site, '[practitioners]\nstaff_types = ["PHY"]\n')
    assert "S^not a practitioner^HL70181" in command("map", "test", str(trios), "-c", str(site)).out


# --- preview ---------------------------------------------------------------------------------------------------------


def test_without_a_change_nothing_is_read_differently(tmp_path: Path, command: Command) -> None:
    """All sample messages: what was refused, sent again, scheduled or counted is no difference."""
    feed = Feed("staff", KEY_SYSTEM, settings=FEED_SETTINGS)
    write_configuration(tmp_path, [feed], {"fhir": destination("http://127.0.0.1:9/fhir")})
    settings = config.load(tmp_path, {})
    intake = Intake(feed_policy(settings.feeds["staff"], settings), b"\0" * 32)
    trios = load()
    with SqliteStore(settings.store.path) as store:
        for sample in trios:
            news = [prepared.new for prepared in intake.prepare(sample.message, "test")]
            store.inbox.accept([new for new in news if new is not None], 1.8e9)
    ended = command("map", "preview", "--json", "-c", str(tmp_path))
    assert ended.json["messages"] == []
    assert (ended.code, ended.json["counts"]) == (0, {})
    assert ended.json["looked_at"] > len(trios) // 2

    # another time zone is no other mapping version, and still reads differently
    path = tmp_path / "conf" / "feeds" / "staff.toml"
    path.write_text(path.read_text().replace('"UTC"', '"Asia/Tokyo"'))
    changed = command("map", "preview", "--last", "100", "-c", str(tmp_path))
    assert changed.code == 1
    assert "would be read differently" in changed.out
    assert "+09:00" in changed.out


# --- dictionary ------------------------------------------------------------------------------------------------------


def test_the_dictionary_is_made_of_the_mapping(site: Path, command: Command) -> None:
    write(
        site,
        '[review]\nowner = "team"\nnext = 2999-01-01\n[fields]\n"ZSF-3" = { rule = "email", when = "has_at_sign" }',
    )
    ended = command("map", "dictionary", "--csv", "-c", str(site))
    assert ended.code == 0
    rows = {row["field"]: row for row in csv.DictReader(io.StringIO(ended.out))}
    assert rows["ZSF-3"]["element"] == "Practitioner.telecom"
    assert (rows["ZSF-3"]["condition"], rows["ZSF-3"]["from"]) == ("has_at_sign", "conf/maps/kings.toml")
    assert (rows["STF-5"]["element"], rows["STF-5"]["table"]) == ("Practitioner.gender", "0001")
    assert rows["STF-5"]["owner"] == "team"
    assert rows["STF-5"]["from"] == "packaged"
    assert "STF-17" not in rows


def test_an_overdue_review_is_said(site: Path, command: Command) -> None:
    write(site, "[review]\nnext = 2020-01-01\n")
    ended = command("map", "dictionary", "--json", "-c", str(site))
    assert (ended.code, ended.json["overdue"]) == (1, True)
    assert "conf/maps/kings.toml:2 says 2020-01-01" in ended.err
