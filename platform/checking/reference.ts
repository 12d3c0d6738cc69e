/** The verifier's own pixels, made before it has seen anybody's claim. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noiseVarianceOfHalves } from '../../proof/pixel-match.ts';
import { type PixelImage, pixelDigest, readRawPixels } from '../../proof/pixels.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { ChallengeItem } from '../../protocol/verdict.ts';
import { digestBytes, digestFile } from '../blobs/digest-file.ts';
import type { ExtraFile, FinishedFrame, FinishTile } from '../render/runtime.ts';
import { decodePicture, type Picture, pictureBytes } from './pictures.ts';
import { COMMAND_TIMEOUT_MS, type VerifyTools } from './tools.ts';

export type Reference = {
  /** What the verifier commits to. */
  commitment: Digest;
  renderMs: number;
} & (
  | {
      kind: 'render';
      pixels: PixelImage;
      /** Only where the claim is of another device class: how noisy the pixels are by themselves. */
      noiseVariance?: number;
    }
  /** The merged frame's canonical digest, and the picture that the scene's own compositor makes of it. */
  | { kind: 'finish'; mergedDigest: Digest; picture: Picture; extraFiles: readonly ExtraFile[] }
);

export async function makeReference(item: ChallengeItem, tools: VerifyTools): Promise<Reference> {
  return item.kind === 'finish' ? await finishAgain(item, tools) : await renderCrop(item, tools);
}

/** The crop of a drawn receipt, by this machine. */
export async function renderCrop(
  item: Pick<ChallengeItem, 'index' | 'frame' | 'crop' | 'samples' | 'precision'>,
  tools: VerifyTools,
): Promise<Extract<Reference, { kind: 'render' }>> {
  const output = join(tools.folder, `reference-${item.index}.exr`);
  const options = { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS };
  const tile = await tools.session.render(
    { frame: item.frame, rect: item.crop, samples: item.samples, precision: item.precision, output },
    options,
  );
  const pixels = await decodeExr(output, tools);
  const reference = { kind: 'render' as const, commitment: pixelDigest(pixels), pixels };
  if ((tools.thresholds ?? 'sameClass') === 'sameClass') return { ...reference, renderMs: tile.renderMs };
  const noise = await renderNoise(item, tools);
  return { ...reference, renderMs: tile.renderMs + noise.renderMs, noiseVariance: noise.variance };
}

/**
 * How noisy this crop is, from two disjoint halves of its samples. The crop itself is rendered beside them: with blue
 * noise or adaptive sampling two halves are not the whole.
 */
async function renderNoise(
  { index, frame, crop, samples, precision }: Parameters<typeof renderCrop>[0],
  tools: VerifyTools,
): Promise<{ variance: number; renderMs: number }> {
  // Of an odd number one is left out, and of a single sample none can be.
  const half = Math.max(1, Math.floor(samples / 2));
  const options = { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS };
  const halves: PixelImage[] = [];
  let renderMs = 0;
  for (const sampleOffset of [0, half]) {
    const output = join(tools.folder, `reference-${index}.half-${sampleOffset}.exr`);
    const command = { frame, rect: crop, samples: half, precision, sampleOffset, output };
    renderMs += (await tools.session.render(command, options)).renderMs;
    halves.push(await decodeExr(output, tools));
  }
  const [first, second] = halves as [PixelImage, PixelImage];
  return { variance: (noiseVarianceOfHalves(first, second) * (2 * half)) / samples, renderMs };
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
  const { picture, extraFiles } = finished;
  const extras = await Promise.all(extraFiles.map(async ({ path }) => (await digestFile(path)).digest));
  const digests = Buffer.from([finished.pixelDigest, ...extras].join(''), 'hex');
  return {
    kind: 'finish',
    commitment: digestBytes(Buffer.concat([digests, pictureBytes(picture)])),
    renderMs: finished.finishMs,
    mergedDigest: finished.pixelDigest,
    picture,
    extraFiles,
  };
}

/** The scene's own compositor over these tiles: the digest of the merged frame, the picture and what it writes beside it. */
export async function finishTiles(
  item: ChallengeItem,
  tiles: readonly FinishTile[],
  name: string,
  tools: VerifyTools,
): Promise<Pick<FinishedFrame, 'pixelDigest' | 'finishMs' | 'extraFiles'> & { picture: Picture }> {
  const extraFolder = join(tools.folder, `${name}.extra`);
  await mkdir(extraFolder);
  const finished = await tools.session.finish(
    {
      frame: item.frame,
      region: item.rect,
      picture: item.picture,
      tiles,
      output: item.output,
      exrOutput: join(tools.folder, `${name}.merged.exr`),
      pictureOutput: join(tools.folder, `${name}.merged.picture`),
      extraFolder,
    },
    { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS },
  );
  const picture = await decodePicture(finished.picturePath, item.output.format, item.picture, tools);
  return { ...finished, picture };
}

/** An EXR as canonical pixels: opened by the renderer inside its sandbox, read here in a format too plain to attack. */
async function decodeExr(exr: string, tools: VerifyTools): Promise<PixelImage> {
  const output = `${exr}.raw`;
  await tools.session.readPixels({ exr, output }, { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS });
  return readRawPixels(await readFile(output));
}
