# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that becomes an answer instead of a crash."""

from __future__ import annotations

from typing import Any


class Failure(Exception):
    """Something the caller has to know, with a code of protocol/errors.ts."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
