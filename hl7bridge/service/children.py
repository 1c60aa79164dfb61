"""The delivery role as a supervised child process: started, woken, restarted when it dies, told to stop by closing its
standard input, and ending by itself when that closes, so that a killed parent leaves no orphan. (design.md section 3)
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from hl7bridge.service.lasting import lasting
from hl7bridge.service.log import Log

SHORTEST, LONGEST = 0.2, 10.0  # seconds before a child that died is started anew
HANGS = 1.0  # seconds that a hint may take: a child whose pipe is full has read none for minutes


class Child:
    """One role in a process of its own. `hinted()` is called on a thread of ours for each line that it writes,
    `ended(exit code)` where it ended without being asked to."""

    def __init__(
        self,
        role: str,
        arguments: Sequence[str],
        log: Log,
        hinted: Callable[[], None],
        ended: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.role, self._ended = role, ended
        self._arguments, self._log, self._hinted = arguments, log, hinted
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._waking = threading.Event()
        self._restarting = threading.Event()
        self._started = threading.Event()
        self._writing = threading.Lock()  # nobody closes the pipe while a hint is written into it
        self._watch = self._thread("supervisor", self._supervise)
        self._waker = self._thread("waker", self._write_hints)

    def _thread(self, what: str, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            lasting(work, lambda text: self._log.error(what, error=text), self._stopping.is_set)

        return threading.Thread(target=run, name=f"{self.role}-{what}", daemon=True)

    def start(self) -> None:
        """Start it and keep it running until `stop`."""
        self._watch.start()
        self._waker.start()
        self._started.wait(10)

    @property
    def pid(self) -> int:
        """The process id now; 0 while there is none."""
        process = self._process
        return process.pid if process and process.poll() is None else 0

    def hint(self) -> None:
        """Something was committed; many hints become one."""
        self._waking.set()

    def restart(self) -> None:
        """Let it end in order, and start it anew: what it reads at its start has changed."""
        self._restarting.set()
        if (process := self._process) is not None:
            self._tell_to_end(process)

    def _tell_to_end(self, process: subprocess.Popen[bytes]) -> None:
        """Close its standard input; end one that hangs."""
        if not self._writing.acquire(timeout=HANGS):
            self._log.warning("child hangs, ended", pid=process.pid)
            process.kill()
            return
        try:
            if process.stdin:
                process.stdin.close()
        except OSError:
            pass  # it is gone already
        finally:
            self._writing.release()

    def stop(self, timeout: float) -> None:
        """Close its standard input, wait, and end it if it does not end within `timeout` seconds."""
        self._stopping.set()
        self._waking.set()
        process = self._process
        if process is None:
            return
        self._tell_to_end(process)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._log.warning("child did not stop in time, ended", pid=process.pid)
            process.kill()
            process.wait()

    def _supervise(self) -> None:
        rest = SHORTEST
        if (left := self._process) is not None and left.poll() is None:
            left.kill()  # nobody reads its hints, since this thread began anew
            left.wait()
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-m", "hl7bridge", *self._arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            except OSError as error:  # no process or memory to be had now; messages are taken, and wait
                rest = min(LONGEST, rest * 2)
                reason = (error.strerror or "the system refuses").lower()
                self._log.error("child could not be started, trying again", reason=reason, seconds=rest)
                self._started.set()
                self._stopping.wait(rest)
                continue
            self._process = process
            self._started.set()
            assert process.stdout is not None
            for _ in process.stdout:
                self._hinted()
            code = process.wait()
            process.stdout.close()
            self._tell_to_end(process)
            if self._stopping.is_set():
                return
            if self._restarting.is_set():
                self._restarting.clear()
                self._log.info("child ended as asked, starting it again", exit_code=code)
                continue
            rest = SHORTEST if time.monotonic() - began > 30 else min(LONGEST, rest * 2)
            self._log.error("child ended, starting it again", exit_code=code, seconds=rest)
            self._ended(code)
            self._stopping.wait(rest)

    def _write_hints(self) -> None:
        while not self._stopping.is_set():
            self._waking.wait()
            self._waking.clear()
            process = self._process
            if process is None or process.stdin is None:
                continue
            try:
                with self._writing:
                    process.stdin.write(b"\n")
                    process.stdin.flush()
            except (OSError, ValueError):
                pass  # it died; the supervisor starts another, which looks at the store by itself
            time.sleep(0.005)  # at most 200 hints a second
