# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that runs inside Blender: one process, one scene, commands over a socket."""
