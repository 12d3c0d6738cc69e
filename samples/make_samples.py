# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the sample scenes.

    blender -b --factory-startup --python samples/make_samples.py -- OUTDIR [NAME ...]

Writes OUTDIR/still, OUTDIR/turntable and OUTDIR/project, or only those named.
Made and tested with Blender 3.4, written for 4.x too; needs nothing but Blender.
"""

from __future__ import annotations

import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ("still", "turntable", "project")


def main(argv: list[str]) -> int:
    """Build the scenes that the arguments after '--' name."""
    args = argv[argv.index("--") + 1 :] if "--" in argv else []
    outdir = os.path.abspath(args[0]) if args else HERE
    names = args[1:] or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"unknown sample: {', '.join(unknown)}", file=sys.stderr)
        return 2
    sys.dont_write_bytecode = True
    sys.path.insert(0, HERE)
    for name in names:
        importlib.import_module(f"scenes.{name}").build(outdir)
        print(f"built {name} in {outdir}")
    return 0


if __name__ == "__main__":
    status = main(sys.argv)
    if status:
        sys.exit(status)
