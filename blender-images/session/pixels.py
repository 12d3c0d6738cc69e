# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical pixels: the form that is digested and compared. The twin of proof/pixels.ts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import OpenImageIO as oiio

from .failure import Failure
from .limits import MAX_CHANNELS, MAX_DECODED_BYTES, MAX_NAME, MAX_RATIO, check_size

MAGIC = "TESSERA-PIXELS-1"
QUIET_NAN = np.uint32(0x7FC00000)
MINUS_ZERO = np.uint32(0x80000000)
SIGN_OFF = np.uint32(0x7FFFFFFF)
INFINITY_BITS = np.uint32(0x7F800000)


@dataclass
class Pixels:
    """Planes in canonical order: `planes[channel, row from the top, column]`, float32."""

    names: list[str]
    planes: np.ndarray
    attributes: dict[str, Any] = field(default_factory=dict)
    # Channels that the file holds in 16 bits: their values fit there, so writing them so again loses nothing.
    half: frozenset[str] = frozenset()

    @property
    def width(self) -> int:
        return int(self.planes.shape[2])

    @property
    def height(self) -> int:
        return int(self.planes.shape[1])


def code_units(name: str) -> bytes:
    """Sort key: UTF-16 code units, which is how JavaScript orders strings."""
    return name.encode("utf-16-be")


def refuse(path: str, why: str) -> Failure:
    """The failure for a file that is not what it should be. `exr` says which one, in the sandbox's terms."""
    return Failure("RENDER_FAILED", f"{os.path.basename(path)}: {why}", exr=path, invalidExr=True)


def check_header(path: str, spec: Any, expected: tuple[int, int] | None) -> None:
    """Everything that can be known before the pixels are read."""
    check_size(spec.width, spec.height, os.path.basename(path))
    if expected is not None and (spec.width, spec.height) != expected:
        raise refuse(path, f"{spec.width} x {spec.height} pixels instead of {expected[0]} x {expected[1]}")
    if spec.depth != 1 or spec.deep:
        raise refuse(path, "deep and volumetric files are not pictures")
    if not 1 <= spec.nchannels <= MAX_CHANNELS:
        raise refuse(path, f"{spec.nchannels} channels; {MAX_CHANNELS} are the limit")
    size = spec.width * spec.height * spec.nchannels * 4
    if size > MAX_DECODED_BYTES:
        limit = f"{MAX_DECODED_BYTES} are the limit"
        raise Failure("TOO_LARGE", f"{os.path.basename(path)} decodes to {size} bytes; {limit}")
    if size > os.path.getsize(path) * MAX_RATIO:
        raise refuse(path, "claims more pixels than its bytes can hold")


def unnameable(letter: str) -> bool:
    """Control characters and lone surrogates."""
    return ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) <= 0xDFFF


def check_names(path: str, names: list[str]) -> None:
    """Names are lines of the canonical header, so they have to be lines, and each its own."""
    if len(set(names)) != len(names):
        raise refuse(path, "two channels of one name")
    for name in names:
        # Bytes that are no UTF-8 come as lone surrogates, which have no encoding.
        size = len(name.encode("utf-8", errors="replace"))
        if not 1 <= size <= MAX_NAME or any(unnameable(letter) for letter in name):
            raise refuse(path, f"a channel name that is no name: {name!r}")


def decode(path: str, expected: tuple[int, int] | None = None) -> Pixels:
    """Reads an EXR of any origin. `expected` is (width, height), checked before memory is taken."""
    try:
        reader = oiio.ImageInput.open(path)
    except Exception as error:  # noqa: BLE001  (whatever the binding throws, the file is at fault)
        raise refuse(path, f"not readable ({error})") from error
    if reader is None:
        raise refuse(path, f"not readable ({oiio.geterror().strip()})")
    try:
        if reader.format_name() != "openexr":
            raise refuse(path, f"not an OpenEXR file but {reader.format_name()}")
        spec = reader.spec()
        check_header(path, spec, expected)
        try:
            names = [str(name) for name in spec.channelnames]
            attributes = {attribute.name: attribute.value for attribute in spec.extra_attribs}
            half = half_channels(spec)
        except UnicodeDecodeError as error:
            raise refuse(path, "a name that is not UTF-8") from error
        check_names(path, names)
        if reader.seek_subimage(1, 0):
            raise refuse(path, "more than one part")
        reader.seek_subimage(0, 0)
        values = reader.read_image(0, 0, 0, spec.nchannels, oiio.FLOAT)
        if values is None:
            raise refuse(path, f"broken ({reader.geterror().strip()})")
    finally:
        reader.close()
    values = np.asarray(values, dtype=np.float32).reshape(spec.height, spec.width, spec.nchannels)
    order = sorted(range(len(names)), key=lambda index: code_units(names[index]))
    planes = np.empty((len(names), spec.height, spec.width), dtype=np.float32)
    for target, source in enumerate(order):
        planes[target] = values[:, :, source]
    return Pixels([names[index] for index in order], planes, attributes, half)


def half_channels(spec: Any) -> frozenset[str]:
    """Names of the channels that are stored in 16 bits."""
    formats = spec.channelformats or (spec.format,) * spec.nchannels
    return frozenset(name for name, kind in zip(spec.channelnames, formats, strict=True) if kind == oiio.HALF)


def without(pixels: Pixels, unwanted: Callable[[str], bool]) -> Pixels:
    """The same picture with fewer channels."""
    kept = [index for index, name in enumerate(pixels.names) if not unwanted(name)]
    if len(kept) == len(pixels.names):
        return pixels
    names = [pixels.names[index] for index in kept]
    return Pixels(names, pixels.planes[kept], pixels.attributes, pixels.half.intersection(names))


def cropped(pixels: Pixels, x: int, y: int, width: int, height: int) -> Pixels:
    """A part of the picture, all channels."""
    planes = np.ascontiguousarray(pixels.planes[:, y : y + height, x : x + width])
    return Pixels(pixels.names, planes, pixels.attributes, pixels.half)


def canonical_plane(plane: np.ndarray) -> np.ndarray:
    """One plane as it is digested: little endian, one zero, one NaN. Not to be written to: it may be the plane itself."""
    # On the bits, not on the values: Cycles may have told this CPU to take subnormals for zero.
    bits = np.ascontiguousarray(plane, dtype="<f4").view("<u4")
    magnitude = bits & SIGN_OFF
    # Hardly any picture has either, and a copy takes longer than to look.
    if int(magnitude.max(initial=0)) <= INFINITY_BITS and not (bits == MINUS_ZERO).any():
        return bits
    bits = bits.copy()
    bits[magnitude == 0] = 0
    bits[magnitude > INFINITY_BITS] = QUIET_NAN
    return bits


def header(names: list[str], width: int, height: int) -> bytes:
    """The first bytes of the canonical form."""
    return ("\n".join([MAGIC, f"{width} {height} {len(names)}", *names]) + "\n").encode("utf-8")


def digest(pixels: Pixels) -> str:
    """SHA-256 of the canonical form, in hex."""
    state = hashlib.sha256(header(pixels.names, pixels.width, pixels.height))
    for plane in pixels.planes:
        state.update(canonical_plane(plane).data)
    return state.hexdigest()


def write_raw(pixels: Pixels, rows: slice, columns: slice, output: BinaryIO) -> None:
    """The canonical form of a part, as a file."""
    part = pixels.planes[:, rows, columns]
    output.write(header(pixels.names, part.shape[2], part.shape[1]))
    for plane in part:
        output.write(canonical_plane(plane).data)
