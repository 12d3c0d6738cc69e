/** What a job would cost, and whether its scene renders the same twice: asked before anything is submitted or paid. */
import type { InspectionReply } from '../../protocol/http.ts';
import type { JobRequest } from '../../protocol/job.ts';
import type { AdmissionLoop } from '../admission/admission-loop.ts';
import { trialOf } from '../admission/admissions.ts';
import { describeFinding } from '../admission/judge-strips.ts';
import type { CoordinatorContext } from '../context.ts';
import { planRequest } from './jobs.ts';
import type { Scenes } from './scenes.ts';

/** Takes the seconds that rendering strips of it twice takes, unless that was done before. */
export async function inspectJob(
  context: CoordinatorContext,
  scenes: Scenes,
  admissions: AdmissionLoop,
  request: JobRequest,
  signal: AbortSignal,
): Promise<InspectionReply> {
  const { plan, warnings } = await planRequest(scenes, request, signal);
  const { spec, quote } = plan;
  const trial = trialOf(context, spec);
  const finding = await admissions.ask(trial, signal);
  return {
    engine: spec.engine,
    deviceClass: trial.runtime.engine.deviceClass,
    frames: spec.frames.length,
    tiles: spec.tiles,
    samples: spec.samples,
    fullFrame: spec.fullFrame,
    quote,
    warnings,
    twice: {
      same: finding.outcome === 'pass',
      frame: finding.frame,
      rect: finding.rect,
      pixelMatchFraction: finding.pixelMatchFraction,
      finding: describeFinding(finding),
    },
  };
}
