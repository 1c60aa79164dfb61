"""Secrets by reference: a configuration file names where a key is kept, never the key.

    env:NAME               an environment variable
    file:PATH              a file, relative to the folder that holds conf/ (container and systemd credentials, too)
    keyring:SERVICE/NAME   the system's credential store, of the account that runs hl7bridge
    exec:COMMAND ...       what a command writes to its standard output (a vault's client); no shell reads the line, and what
                           the command says on standard error goes nowhere, for it may be the secret

Nothing here shows a secret: not `repr`, not an error, not a log.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from hl7bridge.errors import ConfigError

KINDS = ("env", "file", "keyring", "exec")
COMMAND_TIMEOUT = 10.0  # seconds
LARGEST = 64 * 1024  # bytes; no key is larger, a wrong path (a log, a database) is

_ADVICE = 'Write a reference: "file:keys/NAME.pem", "env:NAME", "keyring:SERVICE/NAME" or "exec:COMMAND"'


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is kept. `file` and `key` name the setting, for errors; `directory` anchors relative paths."""

    kind: str
    name: str
    directory: Path = field(default=Path(), repr=False)
    file: str = ""
    key: str = ""

    @classmethod
    def parse(cls, text: str, directory: Path = Path(), file: str = "", key: str = "") -> SecretReference:
        """Read `env:...`, `file:...`, `keyring:...` or `exec:...`. Raises ConfigError, which never repeats the text."""
        kind, colon, name = text.partition(":")
        name = name.strip()
        if not colon or kind not in KINDS or not name or "\n" in name:
            raise ConfigError("is not a reference to a secret", file=file, key=key, advice=f"{_ADVICE}.")
        if kind == "keyring" and not all(name.partition("/")):
            raise ConfigError("names no entry", file=file, key=key, advice='Write "keyring:SERVICE/NAME".')
        if kind == "exec" and not _words(name):
            raise ConfigError("is no command", file=file, key=key, advice="Close what is quoted.")
        return cls(kind, name, directory, file, key)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def path(self) -> Path | None:
        """The file that holds the secret; None for the other kinds."""
        return self.directory / Path(self.name).expanduser() if self.kind == "file" else None

    def read(self) -> bytes:
        """The secret. Raises ConfigError when it is missing, empty or can't be read."""
        match self.kind:
            case "env":
                return self._from_environment()
            case "file":
                return self._from_file()
            case "exec":
                return self._from_command()
            case _:
                return self._from_keyring()

    def read_text(self) -> str:
        """The secret as text, without blanks around it. Raises ConfigError, also where it is no text."""
        content = self.read()
        try:
            return content.decode().strip()
        except UnicodeDecodeError:
            pass  # raised below, so that no context of it holds what was read
        raise self._error("is no text in UTF-8", "Write it in UTF-8.")

    def exposure(self) -> str:
        """Who else can read the secret's file, in words; "" when nobody can, or when that can't be told."""
        path = self.path
        if path is None or os.name != "posix" or not path.is_file():
            return ""
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077 and not path.is_relative_to("/run"):
            return f"the file's mode is {mode:04o}: other accounts of this machine can read it"
        return ""

    def age(self, now: float) -> float | None:
        """Seconds since the secret's file was written (`now`: Unix seconds); None for the other kinds, or without one."""
        path = self.path
        try:
            return max(0.0, now - path.stat().st_mtime) if path is not None else None
        except OSError:
            return None

    def _from_environment(self) -> bytes:
        value = os.environ.get(self.name, "")
        if not value:
            raise self._error(
                f"the environment variable {self.name} is not set",
                "Set it for the account that runs hl7bridge, or name another place.",
            )
        return value.encode("utf-8", "surrogateescape")

    def _from_file(self) -> bytes:
        path, make = self.path, f"Make a key with `hl7bridge keys generate {self.name}`"
        assert path is not None
        try:
            with path.open("rb") as opened:
                content = opened.read(LARGEST + 1)
        except FileNotFoundError:
            raise self._error(
                f"the file {path} does not exist",
                f"{make if self.key == 'auth.key' else 'Write it there'}, or correct the path.",
            ) from None
        except OSError as error:
            raise self._error(
                f"the file {path} can't be read ({error.strerror or 'input/output error'})",
                "Let the account that runs hl7bridge read it.",
            ) from None
        if not content.strip():
            raise self._error(f"the file {path} is empty", "Write the secret into it, or correct the path.")
        if len(content) > LARGEST:
            raise self._error(f"the file {path} is too large for a secret", "Correct the path.")
        return content

    def _from_keyring(self) -> bytes:
        import keyring
        import keyring.errors

        service, _, name = self.name.partition("/")
        try:
            value = keyring.get_password(service, name)
        except keyring.errors.NoKeyringError:
            raise self._error("this machine has no credential store", 'Use "file:" or "env:" here.') from None
        except keyring.errors.KeyringError:
            raise self._error(
                "the credential store can't be opened", "Unlock it for the account that runs hl7bridge."
            ) from None
        if not value:
            raise self._error(
                f'the credential store holds no "{name}" of "{service}"',
                f"Store it as the account that runs hl7bridge: `keyring set {service} {name}`.",
            )
        return value.encode()

    def _from_command(self) -> bytes:
        name = (_words(self.name) or [""])[0]
        advice = "Run it by hand, as the account that runs hl7bridge: it has to write the secret to standard output."
        written, code, problem = b"", 0, ""
        try:
            written, code = _run(_words(self.name), self.directory)
        except subprocess.TimeoutExpired:
            problem = f"does not end within {COMMAND_TIMEOUT:.0f} seconds"
        except OSError as error:
            problem = f"can't be run ({error.strerror or 'input/output error'})"
        if problem:  # raised here, so that no context of it holds what was written so far
            raise self._error(f"{name} {problem}", advice)
        if len(written) > LARGEST:
            raise self._error(f"{name} wrote too much for a secret (more than {LARGEST // 1024} KiB)", advice)
        if code:
            raise self._error(f"{name} ended with exit code {code}", advice)
        if not written.strip():
            raise self._error(f"{name} wrote nothing", advice)
        return written

    def _error(self, problem: str, advice: str) -> ConfigError:
        return ConfigError(problem, file=self.file, key=self.key, advice=advice)


def _run(words: list[str], directory: Path) -> tuple[bytes, int]:
    """What a command writes to its standard output, and its exit code; one that writes more than `LARGEST` is ended then.

    Raises OSError, and subprocess.TimeoutExpired after `COMMAND_TIMEOUT`.
    """
    deadline = time.monotonic() + COMMAND_TIMEOUT
    running = subprocess.Popen(  # noqa: S603 - the site's own configuration says what is run
        words, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    written: list[bytes] = []

    def read() -> None:
        assert running.stdout is not None
        with running.stdout as output:
            written.append(output.read(LARGEST + 1))

    # Beside this thread: whatever the command has started may hold its output open for ever.
    reading = threading.Thread(target=read, name="secret-command", daemon=True)
    reading.start()
    try:
        reading.join(COMMAND_TIMEOUT)
        if not written:
            raise subprocess.TimeoutExpired(words[:1], COMMAND_TIMEOUT)
        code = 0 if len(written[0]) > LARGEST else running.wait(max(0.0, deadline - time.monotonic()))
        return written[0], code
    finally:
        running.kill()
        running.wait()


def _words(line: str) -> list[str]:
    """The command and its arguments, [] where a quotation is left open. A backslash is a letter on Windows."""
    try:
        words = shlex.split(line, posix=os.name == "posix")
    except ValueError:
        return []
    return words if os.name == "posix" else [word.strip('"') for word in words]


def looks_secret(text: str) -> bool:
    """Whether a text is a private key itself (PEM, or a private JWK), which has no place in a configuration file."""
    return "-----BEGIN" in text or ('"kty"' in text and '"d"' in text)
