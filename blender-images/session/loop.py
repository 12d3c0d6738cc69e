# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes commands until the host hangs up."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

from .channel import Channel
from .failure import Failure
from .memory import prefer_as_victim, resident_bytes

Progress = Callable[[float, str], None]
Command = Callable[[dict[str, Any], Progress], dict[str, Any]]

# Enough to see where it happened, little enough for one line.
TRACE_CHARACTERS = 2000


def load_commands() -> dict[str, Command]:
    """The table of commands. Raises where this Blender's Python lacks a module."""
    try:
        import numpy  # noqa: F401
        import OpenImageIO  # noqa: F401
    except ImportError as error:
        raise Failure(
            "PROGRAM_NOT_FOUND",
            f"Blender's Python has no module {error.name}. Debian and Ubuntu: "
            "apt-get install python3-numpy python3-openimageio.",
        ) from error
    from . import decoding, devices, finishing, inspection, loading, preview, rendering, whole_frame

    return {
        "open": loading.open_scene,
        "inspect": inspection.inspect,
        "devices": devices.devices,
        "tryDevice": devices.try_device,
        "render": rendering.render,
        "finish": finishing.finish,
        "frame": whole_frame.frame,
        "preview": preview.preview,
        "readPixels": decoding.read_pixels,
        "digestPixels": decoding.digest_pixels,
    }


def answer(commands: dict[str, Command], message: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The reply to one message; failures are replies too."""
    number = message.get("id")
    try:
        command = commands.get(str(message.get("command")))
        if command is None:
            raise Failure("MESSAGE_INVALID", f"no command {message.get('command')!r}")
        return {"id": number, "ok": True, "result": command(message.get("arguments") or {}, progress)}
    except Failure as failure:
        return {
            "id": number,
            "ok": False,
            "code": failure.code,
            "message": failure.message,
            "details": failure.details,
        }
    except MemoryError:
        return {"id": number, "ok": False, "code": "RENDER_FAILED", "message": "out of memory", "details": {}}
    except Exception as error:  # noqa: BLE001  (the session outlives a command that went wrong)
        traceback.print_exc()
        trace = traceback.format_exc()[-TRACE_CHARACTERS:]
        message_text = f"{type(error).__name__}: {error}"
        return {
            "id": number,
            "ok": False,
            "code": "RENDER_FAILED",
            "message": message_text,
            "details": {"trace": trace},
        }


def run(socket_path: str) -> None:
    """Serves one host; returns when it hangs up, and Blender ends with it."""
    channel = Channel(socket_path)
    prefer_as_victim()
    try:
        commands = load_commands()
    except Failure as failure:
        channel.send({"hello": False, "code": failure.code, "message": failure.message})
        return
    channel.send({"hello": True})
    while True:
        message = channel.receive()
        if message is None:
            break

        def progress(fraction: float, note: str, number: Any = message.get("id")) -> None:
            channel.send({"id": number, "progress": {"fraction": fraction, "note": note}})

        channel.send({**answer(commands, message, progress), "memoryBytes": resident_bytes()})
        sys.stdout.flush()
