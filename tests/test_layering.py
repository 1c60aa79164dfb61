"""Who may import whom (the rooms of the house): read from the source, so that no import escapes, wherever it stands."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import hl7bridge

PACKAGE = Path(hl7bridge.__file__).parent

# Room -> the rooms that it may import.
ALLOWED: dict[str, set[str]] = {
    "": set(),
    "__main__": {"cli"},
    "model": set(),
    "errors": {"model"},
    "hl7": {"model", "errors"},
    "mapping": {"model", "errors", "hl7"},
    "store": {"model", "errors"},
    "destinations": {"model", "errors"},
    "intake": {"model", "errors", "hl7", "mapping", "store"},
    "config": {"errors"},
    "assemble": {"model", "errors", "mapping", "intake", "store", "destinations", "config"},
    "desk": {"", "model", "errors", "hl7", "mapping", "intake", "store", "destinations", "config", "assemble"},
    "sandbox": {"model", "errors"},
    "invented": {"model", "errors", "hl7"},
    "service": {"model", "errors", "hl7", "mapping", "store", "destinations", "intake", "config"}
    | {"assemble", "desk"},
    "cli": {"", "model", "errors", "hl7", "mapping", "config", "sandbox", "invented", "assemble", "desk"},
}

# Files of `cli` that still reach past the desk, and where to: each line goes when its subject has moved. (`run` and
# `sandbox` start the service, and stay.)
PAST_THE_DESK: dict[str, set[str]] = {
    "operate.run": {"service"},
    "tools.sandbox": {"service"},
}

# Rooms that do no I/O: nothing but the standard library, and of that nothing that reaches outside.
PURE = ("model", "errors", "hl7", "mapping")
IMPURE = {
    "asyncio",
    "http",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "select",
    "shutil",
    "signal",
}
IMPURE |= {"socket", "pysqlite3", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib"}

# Libraries that belong to some rooms alone.
LIBRARIES: dict[str, set[str]] = {
    "twisted": {"service"},
    "zope": {"service"},
    "structlog": {"service"},
    "httpx": {"destinations", "cli"},
    "httpcore": {"destinations"},
    "jwt": {"destinations", "sandbox"},
    "cryptography": {"destinations", "sandbox", "assemble"},
    "OpenSSL": {"service"},
    "sqlite3": {"store"},
    "pysqlite3": {"store"},
    "sqlite_utils": {"store", "cli"},
    "flask": {"sandbox"},
    "werkzeug": {"sandbox"},
    "pydantic": {"config"},
    "keyring": {"config"},
    "typer": {"cli"},
    "rich": {"cli"},
    "hl7apy": {"cli"},
    "hl7": {"cli"},
}


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_data" not in path.parts)


def room_of(module: str) -> str:
    """`hl7bridge.hl7.mllp` -> `hl7`; the package itself -> ``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: bytes) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, in functions and under TYPE_CHECKING as well."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            assert node.module
            if node.module == "hl7bridge":
                for name in node.names:
                    inner = PACKAGE / name.name
                    is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                    yield node.lineno, f"hl7bridge.{name.name}" if is_module else "hl7bridge"
            else:
                yield node.lineno, node.module


def test_every_room_is_in_the_table() -> None:
    assert {room_of(module_of(path)) for path in sources()} <= set(ALLOWED)


def past_the_desk(path: Path) -> set[str]:
    """Where a file of `cli` may still reach."""
    return PAST_THE_DESK.get(module_of(path).removeprefix("hl7bridge.cli."), set())


def test_what_reaches_past_the_desk_does_so() -> None:
    """A line of the list goes with the import that it allows."""
    reached = {}
    for path in sources():
        rooms = {room_of(module) for _, module in imports(path.read_bytes()) if module.startswith("hl7bridge")}
        if room_of(module_of(path)) == "cli" and (past := rooms - ALLOWED["cli"] - {"cli"}):
            reached[module_of(path).removeprefix("hl7bridge.cli.")] = past
    assert reached == PAST_THE_DESK


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_only_what_its_room_may(path: Path) -> None:
    room = room_of(module_of(path))
    wrong = []
    for line, module in imports(path.read_bytes()):
        top = module.split(".")[0]
        if top == "hl7bridge":
            other = room_of(module)
            if other != room and other not in ALLOWED[room] | past_the_desk(path):
                wrong.append(f"line {line}: {module}")
        elif room not in LIBRARIES.get(top, {room}) or (
            room in PURE and (top in IMPURE or top not in sys.stdlib_module_names)
        ):
            wrong.append(f"line {line}: {module}")
    assert not wrong


# Above the seam, what still imports a kind of destination by its name. It shrinks.
KIND = "hl7bridge.destinations.fhir"
OF_A_KIND = {"assemble"}


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_nothing_above_the_seam_knows_a_kind_of_destination(path: Path) -> None:
    room = room_of(module_of(path))
    if room == "destinations" or {room, module_of(path)} & OF_A_KIND:
        return
    assert [module for _, module in imports(path.read_bytes()) if module.startswith(KIND)] == []


# Rooms above the seam, and the store beside it. The demo and its samples show what stands in the sandbox, a FHIR server.
NEUTRAL = ("store", "assemble", "intake", "desk", "service", "cli")
OF_THE_SANDBOX = {"hl7bridge.cli.tools." + name for name in ("demo", "samples", "stage")}


@pytest.mark.parametrize(
    "path",
    [path for path in sources() if room_of(module_of(path)) in NEUTRAL and module_of(path) not in OF_THE_SANDBOX],
    ids=module_of,
)
def test_nothing_above_the_seam_names_a_resource_type(path: Path) -> None:
    """Docstrings may; what a command says of itself may not, for there are several kinds of destination."""
    assert named_types(path.read_bytes()) == []


def named_types(source: bytes) -> list[tuple[int, str]]:
    """(line, text) of every text that the program works with or shows, and that names a FHIR resource type."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if b"Practitioner" not in source and b"CapabilityStatement" not in source:
        return []  # most files: to read all takes seconds
    excepted: set[int] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr):
            excepted.add(id(node.body[0].value))
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in excepted
        if re.search(r"\b(Practitioner|PractitionerRole|CapabilityStatement)\b", node.value)
    ]


def test_a_named_type_would_be_noticed() -> None:
    source = b'"""Practitioner"""\nf(help="Practitioner")\ng(f"Practitioner/{n}", "SELECT \'PractitionerRole\'")\n'
    assert sorted(line for line, _ in named_types(source)) == [2, 3, 3]


# What makes a store or a client -> the room that it is of, which may.
MAKERS = {
    "open_store": "store",
    "SqliteStore": "store",
    "FhirClient": "destinations",
    "FhirDestination": "destinations",
}


def test_assemble_alone_makes_stores_and_clients() -> None:
    wrong = [
        (module_of(path), name.name)
        for path in sources()
        if room_of(module_of(path)) != "assemble" and re.search("|".join(MAKERS), source := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module != "hl7bridge.assemble.stores"
        for name in node.names
        if MAKERS.get(name.name, room_of(module_of(path))) != room_of(module_of(path))
    ]
    assert wrong == []


def test_no_class_name_is_there_twice() -> None:
    """Two rooms never use one word for two things."""
    names = Counter(
        node.name
        for path in sources()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


DRIVER = PACKAGE / "store" / "sqlite" / "driver.py"


def test_one_module_imports_a_driver_of_sqlite() -> None:
    """Two copies of SQLite in one process drop each other's locks on a file, so tests take theirs from there, too."""
    tests = Path(__file__).parent
    found = {
        path
        for path in (*sources(), *tests.rglob("*.py"))
        if any(name in (source := path.read_bytes()) for name in (b"sqlite3", b"apsw"))  # to read all takes seconds
        for _, module in imports(source)
        if module.split(".")[0] in ("sqlite3", "pysqlite3", "_sqlite3", "apsw")
    }
    assert found == {DRIVER}


def test_the_table_would_notice() -> None:
    """The reader of imports sees each form."""
    source = (
        b"import twisted.internet\nfrom hl7bridge import model, __version__\nfrom hl7bridge.hl7.mllp import frame\n"
        b"def f():\n    from hl7bridge.cli import output\n"
    )
    found = [module for _, module in imports(source)]
    assert found == ["twisted.internet", "hl7bridge.model", "hl7bridge", "hl7bridge.hl7.mllp", "hl7bridge.cli"]


def test_no_file_is_too_long() -> None:
    """Past 600 lines a file is split by subject."""
    sizes = {module_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: size for name, size in sizes.items() if size > 600} == {}


def circles(wanted: dict[str, set[str]]) -> list[list[str]]:
    """Ways that lead from a module back to itself."""
    found: list[list[str]] = []
    done: set[str] = set()

    def follow(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for other in sorted(wanted.get(module, ())):
                follow(other, [*way, module])
            done.add(module)

    for module in sorted(wanted):
        follow(module, [])
    return found


def wanted_modules() -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports: in functions and under TYPE_CHECKING, too."""
    modules = {module_of(path): path for path in sources()}
    wanted: dict[str, set[str]] = {}
    for module, path in modules.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = [f"{node.module}.{name.name}" for name in node.names]
                found.update(name if name in modules else node.module for name in inner)
            elif isinstance(node, ast.Import):
                found.update(name.name for name in node.names)
        wanted[module] = {name for name in found if name in modules}
    return wanted


def test_there_is_no_import_circle() -> None:
    """What two modules need of each other stands in a third."""
    wanted = wanted_modules()
    assert circles(wanted) == []
    assert "hl7bridge.mapping.rules.tables" in wanted["hl7bridge.mapping.rules.plans"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == [["a", "b", "c", "a"]]


def test_no_folder_is_too_wide() -> None:
    """A wider one than 16 modules wants a floor."""
    counts = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in sources() if path.stem != "__init__")
    assert {folder: count for folder, count in counts.items() if count > 16} == {}
