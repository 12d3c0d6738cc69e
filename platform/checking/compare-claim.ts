/** One drawn receipt against the verifier's own pixels. */
import { createCanvas } from '@napi-rs/canvas';
import { compareCrops } from '../../proof/compare.ts';
import { heatMap } from '../../proof/difference-map.ts';
import { canonicalBytes, crop, type PixelImage, pixelDigest } from '../../proof/pixels.ts';
import { THRESHOLDS } from '../../proof/thresholds.ts';
import { assertNever, FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { ChallengeItem, Comparison, CropPixels } from '../../protocol/verdict.ts';
import { compareExtraFiles } from './extra-files.ts';
import { comparePictureOf } from './pictures.ts';
import { BrokenClaim, exrOf, fetchClaim, readClaim, readPicture } from './read-claim.ts';
import { finishTiles, type Reference } from './reference.ts';
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
  | 'noiseVariance'
  | 'steps'
  | 'reference'
  | 'claim'
  | 'heatMap'
>;

/**
 * Fetches what the receipt names and compares; a merged frame's EXR only where it was to be delivered (`exr`). A claim
 * that cannot be read is a failed claim; a network is not.
 */
export async function compareClaim(
  item: ChallengeItem,
  receipt: Receipt,
  reference: Reference,
  exr: boolean,
  tools: VerifyTools,
): Promise<Comparison> {
  const startMs = performance.now();
  const finding = await compare(item, receipt, reference, exr, tools).catch((error: unknown) => {
    if (error instanceof BrokenClaim) return broken(error.message);
    throw error;
  });
  return {
    ...placeOf(item),
    ...finding,
    renderMs: reference.renderMs,
    compareMs: performance.now() - startMs,
  };
}

/** A receipt that was not drawn, and whose file is not what it says. */
export function brokenReceipt(index: number, receipt: Receipt, reason: string): Comparison {
  const { kind, frame, rect, samples } = receipt;
  return {
    ...placeOf({ index, kind, frame, rect, crop: rect, samples }),
    ...broken(reason),
    renderMs: 0,
    compareMs: 0,
  };
}

/** The verifier could not find out: never the node's fault. */
export function unclear(item: Place, reason: string): Comparison {
  return { ...placeOf(item), ...broken(reason), outcome: 'inconclusive', renderMs: 0, compareMs: 0 };
}

type Place = Pick<ChallengeItem, 'index' | 'kind' | 'frame' | 'rect' | 'crop' | 'samples'>;

function placeOf({ index, kind, frame, rect, crop: drawn, samples }: Place): Place {
  return { index, kind, frame, rect, crop: drawn, samples };
}

async function compare(
  item: ChallengeItem,
  receipt: Receipt,
  reference: Reference,
  exr: boolean,
  tools: VerifyTools,
): Promise<Finding> {
  switch (reference.kind) {
    case 'render': {
      const finding = await compareTile(item, receipt, reference, tools);
      return item.kind === 'frame' && finding.outcome === 'pass'
        ? await compareFrame(item, receipt, finding, tools)
        : finding;
    }
    case 'finish':
      return await compareFinish(item, receipt, reference, exr, tools);
    default:
      return assertNever(reference);
  }
}

async function compareTile(
  item: ChallengeItem,
  receipt: Receipt,
  { pixels: reference, commitment, noiseVariance }: Extract<Reference, { kind: 'render' }>,
  tools: VerifyTools,
): Promise<Finding> {
  const path = await fetchClaim(receipt, claimName(item), reference.channels, tools);
  const claimed = await readClaim(receipt, path);
  const { rect, crop: drawn } = item;
  const part = crop(claimed, { ...drawn, x: drawn.x - rect.x, y: drawn.y - rect.y });
  const thresholds = THRESHOLDS[tools.thresholds ?? 'sameClass'];
  const result = compareCrops(reference, part, { thresholds, noiseVariance });
  const decisive = result.steps.find((step) => step.step === result.decidedBy);
  const equal = result.decidedBy === 'digest';
  const shown = result.outcome !== 'pass' && result.pixels !== null;
  return {
    outcome: result.outcome,
    decidedBy: result.decidedBy,
    reason: decisive?.detail ?? '',
    pixelMatchFraction: result.pixelMatchFraction,
    perceptualHashDistance: result.perceptualHashDistance,
    perceptualHashAloneWouldPay: result.perceptualHashAloneWouldPay,
    ...(noiseVariance !== undefined && { noiseVariance }),
    steps: result.steps,
    reference: await keepPixels(commitment, equal ? null : reference, tools),
    claim: await keepPixels(equal ? commitment : pixelDigest(part), equal ? null : part, tools),
    heatMap: shown ? await storeHeatMap(reference, part, tools) : null,
  };
}

/** What a claim's files are called in the folder of the challenge. */
function claimName(item: ChallengeItem): string {
  return `claim-${item.index}`;
}

/** What was delivered must come from what was committed: the claimed pixels, finished here, give the same picture. */
async function compareFrame(
  item: ChallengeItem,
  receipt: Receipt,
  finding: Finding,
  tools: VerifyTools,
): Promise<Finding> {
  const delivered = await readPicture(receipt, item, claimName(item), tools);
  const tiles = [{ rect: item.rect, path: exrOf(claimName(item), tools) }];
  const finished = await finishTiles(item, tiles, claimName(item), tools);
  const result = comparePictureOf(finished.picture, delivered);
  if (result.outcome !== 'pass')
    return { ...finding, outcome: result.outcome, decidedBy: 'picture', reason: result.detail };
  const extra = await compareExtraFiles(receipt, finished.extraFiles, claimName(item), tools);
  if (extra.outcome === 'pass') return finding;
  return { ...finding, outcome: extra.outcome, decidedBy: 'extraFiles', reason: extra.detail };
}

async function compareFinish(
  item: ChallengeItem,
  receipt: Receipt,
  reference: Extract<Reference, { kind: 'finish' }>,
  exr: boolean,
  tools: VerifyTools,
): Promise<Finding> {
  // Merging copies values: with the same tiles it has one right answer, so here the digest is the test.
  if (receipt.pixelDigest !== reference.mergedDigest) {
    throw new BrokenClaim('the merged frame is not made of the verified tiles');
  }
  if (exr) await fetchClaim(receipt, claimName(item), null, tools);
  const picture = await readPicture(receipt, item, claimName(item), tools);
  const result = comparePictureOf(reference.picture, picture);
  const found: Finding = {
    ...nothingMeasured,
    outcome: result.outcome,
    decidedBy: 'picture',
    reason: result.detail,
  };
  if (result.outcome !== 'pass') return found;
  const extra = await compareExtraFiles(receipt, reference.extraFiles, claimName(item), tools);
  if (extra.outcome === 'pass') return found;
  return { ...found, outcome: extra.outcome, decidedBy: 'extraFiles', reason: extra.detail };
}

const nothingMeasured: Omit<Finding, 'outcome' | 'decidedBy' | 'reason'> = {
  pixelMatchFraction: null,
  perceptualHashDistance: null,
  perceptualHashAloneWouldPay: null,
  steps: [],
  reference: null,
  claim: null,
  heatMap: null,
};

function broken(reason: string): Finding {
  return { ...nothingMeasured, outcome: 'fail', decidedBy: 'sanity', reason };
}

/** Whoever doubts the numbers takes them again from these bytes. */
async function keepPixels(
  pixelDigest: Digest,
  pixels: PixelImage | null,
  tools: VerifyTools,
): Promise<CropPixels> {
  const blob = pixels === null ? null : await tools.blobs.putBytes(canonicalBytes(pixels), tools.signal);
  return { pixelDigest, blob };
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
