/**
 * Finds out, beside the first tasks of a job, whether its scene renders the same twice: a scene that does not cannot be
 * checked, and an honest node would fail (docs/decisions/admission.md). One scene at a time, oldest job first.
 */
import { join } from 'node:path';
import { Mutex } from '../../platform/mutex.ts';
import { backoffMs, pause } from '../../platform/wait.ts';
import { ERRORS, FarmError, toFarmError } from '../../protocol/errors.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import { Rounds } from '../rounds.ts';
import { wholeSpec } from '../splitting/frame-runs.ts';
import {
  admitJob,
  findingOf,
  keepFinding,
  nextPending,
  type PlannedTrial,
  refuseJob,
  trialOf,
} from './admissions.ts';
import { describeFinding, type Finding } from './judge-strips.ts';
import { tryScene } from './try-scene.ts';

const MINUTE_MS = 60_000;

type Try = { niceness: number | undefined; timeoutMs: number };

/** The last to run: it costs what is rendered beside it next to nothing. */
const NICENESS = 19;

/** On a machine that is never idle a trial that gives way gets nowhere, and nobody is paid: the others take their share. */
const FULL: Try = { niceness: undefined, timeoutMs: 15 * MINUTE_MS };

/** Crashes and full disks are done with after a few; what goes wrong each time is told. */
const MAX_FULL_TRIES = 3;

export class AdmissionLoop {
  readonly #context: CoordinatorContext;
  readonly #onDecided: () => void;
  readonly #asking = new Mutex();
  readonly #failures = new Map<JobId, number>();
  #trials = 0;
  readonly #rounds = new Rounds();

  /** `onDecided`: a job can be paid now, or was ended. */
  constructor(context: CoordinatorContext, onDecided: () => void) {
    this.#context = context;
    this.#onDecided = onDecided;
  }

  /** There may be a new job. */
  wake(): void {
    this.#rounds.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#rounds.run(
      () => this.#next(signal),
      {
        onMoved: this.#onDecided,
        log: this.#context.log,
        trouble: 'the admission of a job could not go on; trying again',
      },
      signal,
    );
  }

  /** What a trial says, for somebody who waits for it; written down like that of a job. */
  async ask(trial: PlannedTrial, signal: AbortSignal): Promise<Finding> {
    return await this.#asking.run(async () => {
      const known = await findingOf(this.#context.db, trial);
      return known?.finding ?? (await this.#try(trial, FULL, signal));
    });
  }

  async #next(signal: AbortSignal): Promise<boolean> {
    const { db, log } = this.#context;
    const job = await nextPending(db);
    if (job === undefined) return false;
    const trial = trialOf(this.#context, wholeSpec(job));
    const known = await findingOf(db, trial);
    const failures = this.#failures.get(job.id) ?? 0;
    const tries = this.#tries();
    try {
      const finding = known?.finding ?? (await this.#try(trial, tries[failures] ?? FULL, signal));
      this.#failures.delete(job.id);
      if (finding.outcome === 'pass') await admitJob(this.#context, job);
      else await refuseJob(this.#context, job, 'refused', describeFinding(finding));
      return true;
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, message } = toFarmError(error);
      log.warn(
        { jobId: job.id, code, reason: message },
        'whether a scene renders the same twice could not be tried',
      );
      if (ERRORS[code].retryable && failures + 1 < tries.length) {
        this.#failures.set(job.id, failures + 1);
        await pause(backoffMs(failures), signal);
        this.#rounds.wake();
        return false;
      }
      this.#failures.delete(job.id);
      const reason = `whether the scene renders the same twice could not be tried: ${code}: ${message}`;
      await refuseJob(this.#context, job, 'untried', reason);
      return true;
    }
  }

  /** In this order, each after the one before has failed. */
  #tries(): Try[] {
    const timeoutMs = this.#context.config.trialGivesWayMs;
    const full = Array.from({ length: MAX_FULL_TRIES }, () => FULL);
    return timeoutMs === 0 ? full : [{ niceness: NICENESS, timeoutMs }, ...full];
  }

  async #try(trial: PlannedTrial, { niceness, timeoutMs }: Try, signal: AbortSignal): Promise<Finding> {
    const { db, scenes, config } = this.#context;
    const timeout = AbortSignal.timeout(timeoutMs);
    const { manifest } = await db
      .selectFrom('scenes')
      .select('manifest')
      .where('digest', '=', trial.scene)
      .executeTakeFirstOrThrow();
    const folder = await scenes.folderOf(trial.scene, manifest, signal);
    const finding = await tryScene(trial, {
      runtime: trial.runtime,
      folder,
      workFolder: join(config.dataFolder, 'work', `trial-${++this.#trials}`),
      threads: config.threads,
      niceness,
      signal: AbortSignal.any([signal, timeout]),
    }).catch((error: unknown) => {
      if (signal.aborted || !timeout.aborted) throw error;
      const seconds = timeoutMs / 1_000;
      throw new FarmError('RENDER_TIMEOUT', `rendering some strips of it twice took more than ${seconds} s`);
    });
    await keepFinding(this.#context, trial, finding);
    return finding;
  }
}
