"""The demo's sender: python-hl7's MLLP client, code that others wrote, so that the journey is shown by no code of ours.

It gives back what arrives first; where two answers are due, or one is longer than what it reads at once, the rest is read
from the same connection.
"""

from __future__ import annotations

import time

from hl7.client import MLLPClient

from hl7bridge.cli.messages.mllp_client import Sent, expected, read_answer
from hl7bridge.errors import Unreachable
from hl7bridge.hl7.mllp import Decoder, FrameReceived, NeedData, frame

_PART = 65536  # bytes


class OtherSender:
    """One connection to one listener, held by python-hl7. `timeout`: seconds to wait for each answer."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        """Raises Unreachable."""
        try:
            self._client = MLLPClient(host, port)
        except OSError as error:
            raise Unreachable(f"nobody takes messages at {host}:{port} ({error.strerror})") from None
        self._client.socket.settimeout(timeout)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def send(self, message: bytes) -> Sent:
        """Send one message and take the answers that it asks for."""
        sent, _ = expected(message)
        decoder, began = Decoder(), time.monotonic()
        try:
            if not sent.due:  # python-hl7 knows no message that asks for no answer, and would wait for one
                self._client.socket.sendall(frame(message))
                return sent
            part = self._client.send_message(message)
            while part and len(sent.answers) < sent.due:
                decoder.receive_data(part)
                while not isinstance(event := decoder.next_event(), NeedData):
                    if isinstance(event, FrameReceived):
                        sent.answers.append(read_answer(event.body, (time.monotonic() - began) * 1000))
                part = self._client.socket.recv(_PART) if len(sent.answers) < sent.due else b""
        except OSError as error:
            sent.problem = f"no answer ({type(error).__name__})"
        if not sent.problem and len(sent.answers) < sent.due:
            sent.problem = "the connection was closed without an answer"
        return sent
