/** One drawn receipt against the verifier's own pixels. */
import { join } from 'node:path';
import { createCanvas } from '@napi-rs/canvas';
import { compareCrops } from '../proof/compare.ts';
import { comparePictures } from '../proof/compare-pictures.ts';
import { heatMap } from '../proof/difference-map.ts';
import { crop, type PixelImage, pixelDigest } from '../proof/pixels.ts';
import { FarmError, isFarmError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import type { Receipt } from '../protocol/receipt.ts';
import type { ChallengeItem, Comparison } from '../protocol/verdict.ts';
import { decodeExr, decodePicture, type Reference } from './reference.ts';
import type { VerifyTools } from './tools.ts';

/** What a comparison finds, less what is the same for every kind. */
type Finding = Pick<
  Comparison,
  | 'outcome'
  | 'decidedBy'
  | 'reason'
  | 'pixelMatchFraction'
  | 'perceptualHashDistance'
  | 'perceptualHashAloneWouldPay'
  | 'heatMap'
>;

/** Fetches what the receipt names and compares. A claim that cannot be read is a failed claim; a network is not. */
export async function compareClaim(
  item: ChallengeItem,
  receipt: Receipt,
  reference: Reference,
  tools: VerifyTools,
): Promise<Comparison> {
  const startMs = performance.now();
  const finding =
    reference.kind === 'render'
      ? await compareTile(item, receipt, reference.pixels, tools)
      : await compareFinish(item, receipt, reference, tools);
  const { index, kind, frame, rect, crop: drawn } = item;
  return {
    ...{ index, kind, frame, rect, crop: drawn },
    ...finding,
    renderMs: reference.renderMs,
    compareMs: performance.now() - startMs,
  };
}

async function compareTile(
  item: ChallengeItem,
  receipt: Receipt,
  reference: PixelImage,
  tools: VerifyTools,
): Promise<Finding> {
  const claimed = await readClaim(receipt, item.index, tools);
  if (!(claimed instanceof Object)) return broken(claimed);
  const { rect, crop: drawn } = item;
  if (claimed.width !== rect.width || claimed.height !== rect.height) {
    return broken(`the tile is ${claimed.width}x${claimed.height}, not ${rect.width}x${rect.height}`);
  }
  const part = crop(claimed, { ...drawn, x: drawn.x - rect.x, y: drawn.y - rect.y });
  const result = compareCrops(reference, part);
  const decisive = result.steps.find((step) => step.step === result.decidedBy);
  return {
    outcome: result.outcome,
    decidedBy: result.decidedBy,
    reason: decisive?.detail ?? '',
    pixelMatchFraction: result.pixelMatchFraction,
    perceptualHashDistance: result.perceptualHashDistance,
    perceptualHashAloneWouldPay: result.perceptualHashAloneWouldPay,
    heatMap:
      result.outcome === 'pass' || result.pixels === null ? null : await storeHeatMap(reference, part, tools),
  };
}

async function compareFinish(
  item: ChallengeItem,
  receipt: Receipt,
  reference: Extract<Reference, { kind: 'finish' }>,
  tools: VerifyTools,
): Promise<Finding> {
  const claimed = await readClaim(receipt, item.index, tools);
  if (!(claimed instanceof Object)) return broken(claimed);
  // Merging copies values: with the same tiles it has one right answer, so here the digest is the test.
  if (receipt.pixelDigest !== reference.mergedDigest)
    return broken('the merged frame is not made of the verified tiles');
  if (receipt.pictureDigest === null) return broken('no picture was delivered');
  const path = join(tools.folder, `claim-${item.index}.png`);
  await tools.blobs.fetchTo(receipt.pictureDigest, path, tools.signal);
  const picture = await decodePicture(path).catch(() => null);
  if (picture === null) return broken('the delivered picture cannot be read');
  const result = comparePictures(reference.picture, picture);
  return { ...nothingMeasured, outcome: result.outcome, decidedBy: 'picture', reason: result.detail };
}

/** The claimed pixels, or in words why they are not what the receipt names. */
async function readClaim(receipt: Receipt, index: number, tools: VerifyTools): Promise<PixelImage | string> {
  const exr = join(tools.folder, `claim-${index}.exr`);
  await tools.blobs.fetchTo(receipt.exrDigest, exr, tools.signal);
  try {
    const pixels = await decodeExr(exr, tools);
    return pixelDigest(pixels) === receipt.pixelDigest
      ? pixels
      : 'the file does not hold the pixels that were committed';
  } catch (error) {
    // The node committed to these bytes: that they are no picture is its fault. A renderer that broke down is not.
    const itsOwn =
      isFarmError(error) && (error.code === 'MESSAGE_INVALID' || error.details?.['invalidExr'] === true);
    if (itsOwn) return `the file cannot be read: ${error.message}`;
    throw error;
  }
}

const nothingMeasured = {
  pixelMatchFraction: null,
  perceptualHashDistance: null,
  perceptualHashAloneWouldPay: null,
  heatMap: null,
} as const;

function broken(reason: string): Finding {
  return { ...nothingMeasured, outcome: 'fail', decidedBy: 'sanity', reason };
}

async function storeHeatMap(reference: PixelImage, claim: PixelImage, tools: VerifyTools): Promise<Digest> {
  const { width, height, rgba } = heatMap(reference, claim);
  const canvas = createCanvas(width, height);
  const context = canvas.getContext('2d');
  const data = context.createImageData(width, height);
  data.data.set(rgba);
  context.putImageData(data, 0, 0);
  const png = await canvas.encode('png');
  if (png.length === 0) throw new FarmError('INTERNAL', 'the heat map could not be encoded');
  return await tools.blobs.putBytes(new Uint8Array(png), tools.signal);
}
