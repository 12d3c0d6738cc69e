# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory this process took at most."""

from __future__ import annotations

import re

PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
# See proc(5), clear_refs: 5 sets the peak back to the present size.
RESET_PEAK = "5"


def reset_peak() -> None:
    """Starts a new measurement where the kernel allows it; else the peak of the whole session is reported."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write(RESET_PEAK)
    except OSError:
        pass


def peak_bytes() -> int:
    """Largest resident size since the last reset."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        match = PEAK.search(file.read())
    return int(match[1]) * 1024 if match else 0
