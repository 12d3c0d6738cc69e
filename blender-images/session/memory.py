# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory this process took at most."""

from __future__ import annotations

import re

PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
RESIDENT = re.compile(r"Rss(?:Anon|Shmem):\s+(\d+) kB")
# See proc(5), clear_refs: 5 sets the peak back to the present size.
RESET_PEAK = "5"
# See proc(5), oom_score_adj: the largest value.
MOST_WILLING = "1000"


def reset_peak() -> None:
    """Starts a new measurement where the kernel allows it; else the peak of the whole session is reported."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write(RESET_PEAK)
    except OSError:
        pass


def status() -> str:
    """See proc(5)."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return file.read()


def peak_bytes() -> int:
    """Largest resident size since the last reset."""
    match = PEAK.search(status())
    return int(match[1]) * 1024 if match else 0


def resident_bytes() -> int:
    """What is held now and cannot be dropped: mapped files do not count."""
    return sum(int(amount) for amount in RESIDENT.findall(status())) * 1024


def prefer_as_victim() -> None:
    """Where memory runs out all the same, the kernel ends this process and not the farm's."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(MOST_WILLING)
    except OSError:
        pass
