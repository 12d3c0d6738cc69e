/**
 * Pixels as an EXR that every reader takes: scanlines, 32-bit float, nothing compressed. Only a cheat writes EXRs outside
 * Blender. Format: "OpenEXR File Layout", openexr.com.
 */
import type { PixelImage } from '../../proof/pixels.ts';

const FLOAT = 2;

export function exrBytes({ width, height, channels, data }: PixelImage): Uint8Array {
  const int = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    return bytes;
  };
  const float = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    return bytes;
  };
  const text = (value: string): Buffer => Buffer.from(`${value}\0`);
  const attribute = (name: string, type: string, value: Buffer): Buffer =>
    Buffer.concat([text(name), text(type), int(value.length), value]);
  const window = Buffer.concat([int(0), int(0), int(width - 1), int(height - 1)]);
  const list = channels.map((name) => Buffer.concat([text(name), int(FLOAT), int(0), int(1), int(1)]));
  const header = Buffer.concat([
    // Magic number, version 2, long names allowed.
    Buffer.from([0x76, 0x2f, 0x31, 0x01, 0x02, 0x04, 0x00, 0x00]),
    attribute('channels', 'chlist', Buffer.concat([...list, Buffer.from([0])])),
    attribute('compression', 'compression', Buffer.from([0])),
    attribute('dataWindow', 'box2i', window),
    attribute('displayWindow', 'box2i', window),
    attribute('lineOrder', 'lineOrder', Buffer.from([0])),
    attribute('pixelAspectRatio', 'float', float(1)),
    attribute('screenWindowCenter', 'v2f', Buffer.concat([float(0), float(0)])),
    attribute('screenWindowWidth', 'float', float(1)),
    Buffer.from([0]),
  ]);
  const lineBytes = 4 * width * channels.length;
  const bytes = Buffer.alloc(header.length + height * (8 + 8 + lineBytes));
  header.copy(bytes);
  const firstLine = header.length + 8 * height;
  for (let y = 0; y < height; y++) {
    let at = firstLine + y * (8 + lineBytes);
    bytes.writeBigUInt64LE(BigInt(at), header.length + 8 * y);
    at = bytes.writeInt32LE(y, at);
    at = bytes.writeInt32LE(lineBytes, at);
    for (let channel = 0; channel < channels.length; channel++) {
      const from = (channel * height + y) * width;
      for (let x = 0; x < width; x++) at = bytes.writeFloatLE(data[from + x] as number, at);
    }
  }
  return bytes;
}
