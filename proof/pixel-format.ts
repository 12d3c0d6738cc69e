/**
 * The canonical byte form of an image: what a pixel digest is taken over, and what crops travel as. It is written
 * and read here and written by the Python inside Blender's sandbox; test/proof/pixel-format.test.ts holds the
 * vectors both must reproduce.
 */
import { FarmError } from '../protocol/errors.ts';
import { MAX_SIDE_PX } from '../protocol/rect.ts';

/**
 * An image of linear 32-bit float channels.
 *
 * `channels` are the EXR channel names (`ViewLayer.Combined.R`), sorted by UTF-16 code units, without repeats.
 * `data` is planar: all of channel 0, then all of channel 1, …; inside a plane row by row, top row first, left to
 * right. Its length is width * height * channels.length.
 */
export type PixelImage = {
  width: number;
  height: number;
  channels: readonly string[];
  data: Float32Array;
};

const MAGIC = 'TESSERA-PIXELS-1';

/** Far above Blender's passes (a few hundred with cryptomatte and light groups), low enough to bound the header. */
const MAX_CHANNELS = 1024;

/** OpenEXR's own limit for a long channel name, in bytes. */
const MAX_CHANNEL_NAME_BYTES = 255;

/** 1 GiB of floats: an 8K frame with 8 channels, or a 4K one with 32. More is a mistake or an attack. */
const MAX_VALUES = 2 ** 28;

/** Magic or the line of three numbers; both are far shorter, so a missing line end is found at once. */
const MAX_LINE_BYTES = 64;

const BYTES_PER_VALUE = 4;
const NEWLINE = 0x0a;
const SPACE = 0x20;
const DELETE = 0x7f;
const SIGN_OFF = 0x7fffffff;
const INFINITY_BITS = 0x7f800000;
const QUIET_NAN_BITS = 0x7fc00000;

/** As this machine holds numbers; every one that runs a browser or Node today does. */
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

function invalid(message: string): FarmError {
  return new FarmError('MESSAGE_INVALID', `pixels: ${message}`);
}

/** The bits one float is written with: one zero, one NaN, everything else as it is. */
export function canonicalBits(bits: number): number {
  const magnitude = bits & SIGN_OFF;
  if (magnitude === 0) return 0;
  return magnitude > INFINITY_BITS ? QUIET_NAN_BITS : bits;
}

function hasControlCharacter(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit < SPACE || unit === DELETE) return true;
  }
  return false;
}

function checkHeader(width: number, height: number, channels: readonly string[]): void {
  for (const side of [width, height]) {
    if (!Number.isInteger(side) || side < 1 || side > MAX_SIDE_PX) throw invalid(`a side of ${side} pixels`);
  }
  if (channels.length < 1 || channels.length > MAX_CHANNELS) throw invalid(`${channels.length} channels`);
  if (width * height * channels.length > MAX_VALUES) {
    throw invalid(`${width} x ${height} x ${channels.length} values are more than ${MAX_VALUES}`);
  }
  const encoder = new TextEncoder();
  for (const [index, name] of channels.entries()) {
    const bytes = encoder.encode(name).length;
    if (bytes < 1 || bytes > MAX_CHANNEL_NAME_BYTES) throw invalid(`a channel name of ${bytes} bytes`);
    // A control character (ASCII's, as in the Python twin) could break the header's lines; a lone surrogate has no bytes.
    if (/\p{Cs}/u.test(name) || hasControlCharacter(name))
      throw invalid(`channel ${index} has a character that no name may have`);
    const before = channels[index - 1];
    if (before !== undefined && before >= name)
      throw invalid('channel names are not sorted, or one is repeated');
  }
}

/**
 * Checks the shape of an image that was put together in memory.
 * @throws FarmError MESSAGE_INVALID when sizes, names or the length of `data` do not fit the type's description.
 */
export function checkImage(image: PixelImage): void {
  checkHeader(image.width, image.height, image.channels);
  const expected = image.width * image.height * image.channels.length;
  if (image.data.length !== expected) throw invalid(`${image.data.length} values instead of ${expected}`);
}

/**
 * The canonical bytes of an image. Exactly:
 *
 *     TESSERA-PIXELS-1\n
 *     <width> <height> <channelCount>\n      decimal, no sign, no leading zero, one space between
 *     <name>\n                               once per channel, UTF-8 (so ASCII for ASCII names), in sorted order
 *     <planes>                               float32 little-endian, in the order of `PixelImage.data`
 *
 * with no byte after the last value; -0 is written as 0 (0x00000000) and every NaN as 0x7fc00000; infinities and
 * subnormals stay. Names sort by UTF-16 code units: in Python `sorted(names, key=lambda n: n.encode('utf-16-be'))`,
 * the same as `sorted(names)` unless a name leaves the Basic Multilingual Plane.
 *
 * @throws FarmError MESSAGE_INVALID when the image is malformed, see {@link checkImage}.
 */
export function canonicalBytes(image: PixelImage): Uint8Array<ArrayBuffer> {
  checkImage(image);
  const { width, height, channels, data } = image;
  const header = new TextEncoder().encode(
    `${MAGIC}\n${width} ${height} ${channels.length}\n${channels.map((name) => `${name}\n`).join('')}`,
  );
  const bytes = new Uint8Array(header.length + data.length * BYTES_PER_VALUE);
  bytes.set(header);
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  if (LITTLE_ENDIAN) bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), header.length);
  // A DataView, since the header leaves the floats unaligned and the format is little-endian on every machine.
  const view = new DataView(bytes.buffer, header.length);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i] as number;
    const canonical = canonicalBits(value);
    // Hardly any value is written otherwise than it is held: those that are have been copied at once.
    if (!LITTLE_ENDIAN || (canonical | 0) !== (value | 0))
      view.setUint32(i * BYTES_PER_VALUE, canonical, true);
  }
  return bytes;
}

function readLine(bytes: Uint8Array, start: number, limit: number): { text: string; next: number } {
  const window = bytes.subarray(start, start + limit + 1);
  const length = window.indexOf(NEWLINE);
  if (length < 0) throw invalid('the header ends early, or a line of it is too long');
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      window.subarray(0, length),
    );
    return { text, next: start + length + 1 };
  } catch (cause) {
    throw new FarmError('MESSAGE_INVALID', 'pixels: a line of the header is not UTF-8', { cause });
  }
}

/**
 * Reads exactly what {@link canonicalBytes} writes; the input is untrusted. Nothing is allocated before the length
 * has been found to fit. Because only canonical bytes are accepted, the SHA-256 of `bytes` is the image's digest.
 *
 * @throws FarmError MESSAGE_INVALID for anything else, a -0 or a second form of NaN included.
 */
export function readRawPixels(bytes: Uint8Array): PixelImage {
  const magic = readLine(bytes, 0, MAX_LINE_BYTES);
  if (magic.text !== MAGIC) throw invalid('these are not raw pixels of version 1');
  const sizes = readLine(bytes, magic.next, MAX_LINE_BYTES);
  const numbers = /^([1-9]\d{0,4}) ([1-9]\d{0,4}) ([1-9]\d{0,3})$/.exec(sizes.text);
  if (numbers === null) throw invalid('the sizes are not three whole numbers');
  const [width, height, channelCount] = numbers.slice(1).map(Number) as [number, number, number];
  if (channelCount > MAX_CHANNELS) throw invalid(`${channelCount} channels`);

  const channels: string[] = [];
  let start = sizes.next;
  while (channels.length < channelCount) {
    const line = readLine(bytes, start, MAX_CHANNEL_NAME_BYTES);
    channels.push(line.text);
    start = line.next;
  }
  checkHeader(width, height, channels);
  const count = width * height * channelCount;
  if (bytes.length - start !== count * BYTES_PER_VALUE) {
    throw invalid(`${bytes.length - start} bytes of values instead of ${count * BYTES_PER_VALUE}`);
  }

  const data = new Float32Array(count);
  const bits = new Uint32Array(data.buffer);
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, count * BYTES_PER_VALUE);
  for (let i = 0; i < count; i++) {
    const value = view.getUint32(i * BYTES_PER_VALUE, true);
    // Compared as int32, since the bit operations of canonicalBits give signed results.
    if ((canonicalBits(value) | 0) !== (value | 0))
      throw invalid(`value ${i} is a -0 or a NaN of another form`);
    bits[i] = value;
  }
  return { width, height, channels, data };
}
