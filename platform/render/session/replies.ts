/** What a renderer may answer. It has a stranger's scene inside, so every answer is checked like a stranger's. */
import { z } from 'zod';
import { ERRORS, type ErrorCode } from '../../../protocol/errors.ts';
import { digestSchema } from '../../../protocol/ids.ts';
import { pictureFormatSchema } from '../../../protocol/output.ts';
import { rectSchema, sizeSchema } from '../../../protocol/rect.ts';
import { DEVICE_TYPES } from '../device-choice.ts';
import { DEFAULT_SESSION_LIMITS } from './limits.ts';

/** Long enough for every path and message, short enough for a log. */
const text = z.string().max(8192);
const duration = z.number().min(0);

const fileSchema = z.strictObject({
  path: text,
  kind: z.enum([
    'library',
    'image',
    'sequence',
    'udim',
    'movie',
    'sound',
    'font',
    'volume',
    'cache',
    'other',
  ]),
  exists: z.boolean(),
  outsideRoot: z.boolean(),
});

/** As in blender-images/session/simulations.py. */
const MAX_UNBAKED = 1_000;

export const inspectionSchema = z.strictObject({
  savedWith: z.strictObject({ major: z.int().min(0), minor: z.int().min(0) }),
  frameStart: z.int(),
  frameEnd: z.int(),
  frameStep: z.int().min(1),
  frameCurrent: z.int(),
  framesPerSecond: z.number().positive(),
  frameRate: z.strictObject({ fps: z.int().min(1), base: z.number().positive() }),
  resolution: sizeSchema,
  region: rectSchema,
  picture: rectSchema,
  renderEngine: text,
  samples: z.int().min(0),
  hasCamera: z.boolean(),
  viewLayers: z.array(z.strictObject({ name: text, passes: z.array(text) })),
  usesCompositor: z.boolean(),
  usesSequencer: z.boolean(),
  usesDenoising: z.boolean(),
  canDenoise: z.boolean(),
  usesMultiview: z.boolean(),
  outputFormat: z.strictObject({ fileFormat: text, colorMode: text, colorDepth: text }),
  writableFormats: z.array(pictureFormatSchema),
  files: z.array(fileSchema),
  missingFiles: z.array(fileSchema),
  unsupported: z.array(text),
  untileable: z.array(text),
  unbaked: z.array(z.strictObject({ object: text, kind: text, firstFrame: z.int() })).max(MAX_UNBAKED),
  warnings: z.array(text),
});

export const devicesSchema = z.strictObject({
  devices: z.array(z.strictObject({ type: z.enum(DEVICE_TYPES), id: text, name: text })).max(256),
});

export const triedSchema = z.strictObject({});

export const openedSchema = z.strictObject({ scene: text, viewLayers: z.array(text) });

export const renderedSchema = z.strictObject({
  pixelDigest: digestSchema,
  renderMs: duration,
  peakMemoryBytes: z.int().min(0),
  samples: z.int().min(1),
});

export const finishedSchema = z.strictObject({
  pixelDigest: digestSchema,
  width: z.int().min(1),
  height: z.int().min(1),
  finishMs: duration,
  /** What they are called; they lie at numbered paths. Names that will not do are the scene's: see extra-names.ts. */
  extraFiles: z.array(z.strictObject({ name: text })).max(DEFAULT_SESSION_LIMITS.outputFiles),
});

export const renderedFrameSchema = z.strictObject({
  ...finishedSchema.shape,
  ...renderedSchema.shape,
});

export const previewedSchema = z.strictObject({
  width: z.int().min(1),
  height: z.int().min(1),
  renderMs: duration,
});

export const decodedSchema = z.strictObject({
  width: z.int().min(1),
  height: z.int().min(1),
  channels: z.array(text).min(1),
  pixelDigest: digestSchema,
});

const errorCodeSchema = z.custom<ErrorCode>(
  (value) => typeof value === 'string' && Object.hasOwn(ERRORS, value),
);

/** What is wrong with one file of several. */
const fileFailureSchema = z.strictObject({
  ok: z.literal(false),
  code: errorCodeSchema,
  message: text,
  details: z.record(z.string(), z.unknown()),
});

/** One answer for each file that was asked about, in that order. */
export const digestedSchema = (count: number) =>
  z.strictObject({
    files: z
      .array(z.discriminatedUnion('ok', [decodedSchema.extend({ ok: z.literal(true) }), fileFailureSchema]))
      .length(count),
  });

/** First line of every session. */
export const helloSchema = z.union([
  z.strictObject({ hello: z.literal(true) }),
  z.strictObject({ hello: z.literal(false), code: errorCodeSchema, message: text }),
]);

const memoryBytes = z.int().min(0).optional();

/** Every later line. */
export const replySchema = z.union([
  z.strictObject({
    id: z.int(),
    progress: z.strictObject({ fraction: z.number().min(0).max(1), note: text }),
  }),
  z.strictObject({ id: z.int(), ok: z.literal(true), result: z.unknown(), memoryBytes }),
  z.strictObject({
    id: z.int(),
    ok: z.literal(false),
    code: errorCodeSchema,
    message: text,
    details: z.record(z.string(), z.unknown()),
    memoryBytes,
  }),
]);
