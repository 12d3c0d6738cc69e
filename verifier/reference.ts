/** The verifier's own pixels, made before it has seen anybody's claim. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { digestBytes } from '../platform/blobs/digest-file.ts';
import type { FinishTile } from '../platform/render/runtime.ts';
import type { Rgba8 } from '../proof/compare-pictures.ts';
import { type PixelImage, pixelDigest, readRawPixels } from '../proof/pixels.ts';
import type { Digest } from '../protocol/ids.ts';
import type { Size } from '../protocol/rect.ts';
import type { ChallengeItem } from '../protocol/verdict.ts';
import { COMMAND_TIMEOUT_MS, type VerifyTools } from './tools.ts';

export type Reference = {
  /** What the verifier commits to. */
  commitment: Digest;
  renderMs: number;
} & (
  | { kind: 'render'; pixels: PixelImage }
  /** The merged frame's canonical digest, and the picture that the scene's own compositor makes of it. */
  | { kind: 'finish'; mergedDigest: Digest; picture: Rgba8 }
);

export async function makeReference(item: ChallengeItem, tools: VerifyTools): Promise<Reference> {
  return item.kind === 'finish' ? await finishAgain(item, tools) : await renderCrop(item, tools);
}

async function renderCrop(item: ChallengeItem, tools: VerifyTools): Promise<Reference> {
  const output = join(tools.folder, `reference-${item.index}.exr`);
  const options = { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS };
  const tile = await tools.session.render(
    { frame: item.frame, rect: item.crop, samples: item.samples, output },
    options,
  );
  const pixels = await decodeExr(output, tools);
  return { kind: 'render', commitment: pixelDigest(pixels), renderMs: tile.renderMs, pixels };
}

async function finishAgain(item: ChallengeItem, tools: VerifyTools): Promise<Reference> {
  const tiles = await Promise.all(
    item.inputs.map(async (input, index) => {
      const path = join(tools.folder, `input-${item.index}-${index}.exr`);
      await tools.blobs.fetchTo(input.exr, path, tools.signal);
      return { rect: input.rect, path };
    }),
  );
  const finished = await finishTiles(item, tiles, `reference-${item.index}`, tools);
  const { picture } = finished;
  return {
    kind: 'finish',
    commitment: digestBytes(
      Buffer.concat([Buffer.from(finished.pixelDigest, 'hex'), Buffer.from(picture.data)]),
    ),
    renderMs: finished.finishMs,
    mergedDigest: finished.pixelDigest,
    picture,
  };
}

/** The scene's own compositor over these tiles: the digest of the merged frame, and the picture. */
export async function finishTiles(
  item: ChallengeItem,
  tiles: readonly FinishTile[],
  name: string,
  tools: VerifyTools,
): Promise<{ pixelDigest: Digest; finishMs: number; picture: Rgba8 }> {
  const finished = await tools.session.finish(
    {
      frame: item.frame,
      region: item.rect,
      picture: item.picture,
      tiles,
      exrOutput: join(tools.folder, `${name}.merged.exr`),
      pictureOutput: join(tools.folder, `${name}.merged.png`),
    },
    { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS },
  );
  return { ...finished, picture: await decodePicture(finished.picturePath, item.picture) };
}

/** An EXR as canonical pixels: opened by the renderer inside its sandbox, read here in a format too plain to attack. */
async function decodeExr(exr: string, tools: VerifyTools): Promise<PixelImage> {
  const output = `${exr}.raw`;
  await tools.session.readPixels({ exr, output }, { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS });
  return readRawPixels(await readFile(output));
}

/** A PNG of a known size as 8-bit RGBA; one that unpacks to more is refused before it does. */
export async function decodePicture(path: string, size: Size): Promise<Rgba8> {
  const image = sharp(path, { limitInputPixels: size.width * size.height, failOn: 'warning' });
  const { data, info } = await image
    .ensureAlpha()
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data };
}
