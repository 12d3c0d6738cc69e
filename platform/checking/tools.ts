/** What one verification works with. */

import type { ThresholdsName } from '../../protocol/verdict.ts';
import type { HttpBlobs } from '../blobs/http-blobs.ts';
import type { RenderSession } from '../render/runtime.ts';

export type VerifyTools = {
  session: RenderSession;
  blobs: Pick<HttpBlobs, 'fetchTo' | 'putBytes'>;
  /** A folder of this challenge, removed afterwards. */
  folder: string;
  signal: AbortSignal;
  /** What the session's device class and the claim's can agree in; the same class when left out. */
  thresholds?: ThresholdsName;
};

/** A crop or a finish takes seconds; one that takes this long is stuck. */
export const COMMAND_TIMEOUT_MS = 1_800_000;
