# SPDX-License-Identifier: GPL-3.0-or-later
"""Newline-delimited JSON over a unix socket. Standard output is left to Blender, which prints whatever it likes."""

from __future__ import annotations

import json
import socket
from typing import Any

# A finish command names every tile: 65,536 tiles of 100 bytes each fit twice over.
MAX_LINE_BYTES = 16 * 1024 * 1024
RECEIVE_BYTES = 64 * 1024


class Channel:
    """Both directions of the conversation with the host."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._buffer = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        """One message, whole."""
        line = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
        self._socket.sendall(line)

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the host has hung up."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return json.loads(line)
            searched = len(self._buffer)
            if searched > MAX_LINE_BYTES:
                raise ValueError("a line from the host is too long")
            chunk = self._socket.recv(RECEIVE_BYTES)
            if not chunk:
                return None
            self._buffer += chunk
