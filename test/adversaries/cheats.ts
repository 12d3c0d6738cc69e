/**
 * What a node could deliver in place of an honest render, and save by it: each as data, so that the tests, the demo and
 * `npm run bench -- proof` play the same ones. Samples are what most renderers save on; the others were tried against
 * earlier versions of the check (perceptual hash, structural similarity), which let them pass.
 */
import { createHash } from 'node:crypto';
import type { PixelImage } from '../../proof/pixels.ts';
import type { Rect } from '../../protocol/rect.ts';
import {
  blackened,
  boxFiltered,
  brightened,
  halved,
  medianFiltered,
  narrowed,
  noisy,
  notANumber,
} from './pixels.ts';

export type Cheat = {
  name: string;
  /** After "a node that". */
  says: string;
  /** How many samples it takes of those asked for. */
  samples?: (asked: number) => number;
  /** Which frame it renders. */
  frame?: (asked: number) => number;
  /** Python statements over the `scene` before it is loaded. */
  scene?: string;
  /** What it makes of the pixels that it rendered so. */
  pixels?: (rendered: PixelImage) => PixelImage;
  /** Share of every tile that is rendered so; the rest of its rows is honest. All of it where left out. */
  share?: number;
  /** Whether it cheats on this one; on all where left out. */
  only?: (task: RenderedTask) => boolean;
};

/** What a cheat decides by whether to do it honestly. */
export type RenderedTask = { frame: number; rect: Rect };

/** Whether a node that cheats now and then fakes this: `seed` decides, so that a test knows it as well as the node. */
export function isFaked(
  { frame, rect }: RenderedTask,
  { seed, share }: { seed: string; share: number },
): boolean {
  const digest = createHash('sha256').update(`${seed} ${frame} ${rect.x},${rect.y}`).digest();
  return digest.readUInt32LE(0) < share * 2 ** 32;
}

const part = (share: number) => (asked: number) => Math.max(1, Math.floor(asked * share));

export const CHEATS: readonly Cheat[] = [
  { name: 'samples-98', says: 'renders 98 % of the samples', samples: part(0.98) },
  { name: 'samples-90', says: 'renders 90 % of the samples', samples: part(0.9) },
  { name: 'samples-50', says: 'renders half of the samples', samples: part(0.5) },
  { name: 'samples-25', says: 'renders a quarter of the samples', samples: part(0.25) },
  {
    name: 'median',
    says: 'renders a quarter of the samples and hides the noise under a median filter',
    samples: part(0.25),
    pixels: medianFiltered,
  },
  {
    name: 'box',
    says: 'renders a quarter of the samples and blurs the noise away',
    samples: part(0.25),
    pixels: boxFiltered,
  },
  {
    name: 'fake-noise',
    says: 'renders a quarter of the samples, filters them and puts made-up noise on top',
    samples: part(0.25),
    pixels: (rendered) => noisy(medianFiltered(rendered)),
  },
  {
    name: 'half-size',
    says: 'renders at half the resolution and enlarges that',
    pixels: halved,
  },
  { name: 'other-seed', says: 'renders with another seed', scene: 'scene.cycles.seed += 1' },
  { name: 'frame-before', says: 'delivers the frame before', frame: (asked) => asked - 1 },
  {
    name: 'adaptive',
    says: 'switches adaptive sampling on',
    scene: 'scene.cycles.use_adaptive_sampling = True; scene.cycles.adaptive_threshold = 0.1',
  },
  {
    name: 'one-bounce',
    says: 'follows the light for one bounce',
    scene: 'scene.cycles.max_bounces = 1',
  },
  {
    name: 'clamp',
    says: 'clamps indirect light',
    scene: 'scene.cycles.sample_clamp_indirect = 0.5',
  },
  {
    name: 'brighter',
    says: 'makes the picture 1 % brighter',
    pixels: (rendered) => brightened(rendered, 1.01),
  },
  { name: 'black', says: 'delivers black', samples: () => 1, pixels: blackened },
  { name: 'nan', says: 'delivers values that are no numbers', samples: () => 1, pixels: notANumber },
  {
    name: 'half-faked',
    says: 'renders half of every tile with a quarter of the samples',
    samples: part(0.25),
    share: 0.5,
  },
  {
    name: 'tenth-faked',
    says: 'renders a tenth of every tile with a quarter of the samples',
    samples: part(0.25),
    share: 0.1,
  },
  { name: 'wrong-size', says: 'delivers tiles that lack a column', pixels: narrowed },
];

/** Throws for a name that is none. */
export function cheatNamed(name: string): Cheat {
  const found = CHEATS.find((cheat) => cheat.name === name);
  if (found === undefined)
    throw new Error(`no cheat is called ${name}; there are ${CHEATS.map((cheat) => cheat.name).join(', ')}`);
  return found;
}
