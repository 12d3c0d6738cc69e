/** From a challenge to an outcome: on the right device, in a session of its scene, or given up with the reason. */

import { checkerFor } from '../platform/checking/runtime-for.ts';
import type { Log } from '../platform/log.ts';
import type { RenderRuntime, RenderSession } from '../platform/render/runtime.ts';
import { type SessionPool, sessionKey } from '../platform/render/session-pool.ts';
import type { SceneCache } from '../platform/scenes/scene-cache.ts';
import { isFarmError, toFarmError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import type { Challenge, Outcome } from '../protocol/verdict.ts';
import { type GiveUpPorts, giveUpBatch } from './give-up.ts';
import { verifyBatch } from './verify-batch.ts';

export type CheckPorts = GiveUpPorts & {
  engines: readonly RenderRuntime[];
  scenes: Pick<SceneCache, 'folderOf'>;
  sessions: SessionPool;
  threads: number;
  workFolder: string;
  /** Whether to end without a clear outcome rather than to throw and be asked again. */
  lastTry: boolean;
  log: Log;
};

/**
 * The outcome to sign and its evidence. What keeps this verifier from rendering at all (no such device, a scene that it
 * cannot fetch or that does not open) is thrown, since another try or another verifier may do better; on the last try it
 * ends without a clear outcome.
 */
export async function checkChallenge(
  challenge: Challenge,
  ports: CheckPorts,
): Promise<{ outcome: Outcome; evidence: Digest }> {
  const { engines, scenes, sessions, threads, workFolder, lastTry, signal, log } = ports;
  let opened = false;
  try {
    const { runtime, thresholds } = checkerFor(engines, challenge);
    const folder = await scenes.folderOf(challenge.scene, challenge.manifest, signal);
    return await sessions.use(
      sessionKey(runtime.engine, challenge.scene),
      (stop) => runtime.open(folder, { signal: stop, threads }),
      signal,
      (session: RenderSession) => {
        opened = true;
        return verifyBatch(challenge, { ...ports, session, engine: runtime.engine, thresholds, workFolder });
      },
    );
  } catch (error) {
    // Without the farm there is nobody to give up to.
    if (opened || !lastTry || signal.aborted || isFarmError(error, 'FARM_UNREACHABLE')) throw error;
    const failure = toFarmError(error);
    log.error({ err: failure, batchId: challenge.batchId }, `given up unchecked. ${failure.help}`);
    return await giveUpBatch(challenge, ports, failure);
  }
}
