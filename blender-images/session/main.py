# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point: `blender -b … --python main.py -- SOCKET`."""

from __future__ import annotations

import os
import sys

# The folder of this package is read-only in the sandbox.
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from session import loop  # noqa: E402  (the path has to be set first)

loop.run(sys.argv[sys.argv.index("--") + 1])
