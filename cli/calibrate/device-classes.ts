/** The device classes of this machine: every engine on its CPU, on that without AVX2, and on each kind of its GPUs. */
import { isCalled } from '../../platform/render/choose-engine.ts';
import { findEngines } from '../../platform/render/engines.ts';
import { compareVersions } from '../../platform/render/images/list.ts';
import type { EngineInfo, RenderRuntime } from '../../platform/render/runtime.ts';
import { FarmError } from '../../protocol/errors.ts';
import { runtimeChoice } from '../farm/runtime-choice.ts';
import type { Terminal } from '../terminal.ts';

/** Those of the engines called `wanted`, or of all; each class once, the newest Blender first. Throws ENGINE_NOT_FOUND with what is there. */
export async function findClasses(
  wanted: string | undefined,
  tempFolder: string,
  terminal: Terminal,
): Promise<RenderRuntime[]> {
  const { signal, environment } = terminal;
  const options = {
    ...{ signal, tempFolder, choice: runtimeChoice(environment) },
    blenderPath: environment['TESSERA_BLENDER'],
  };
  const found = await findEngines({ ...options, gpus: true, onNote: (note) => terminal.say(note) });
  const without = await findEngines({ ...options, withoutAvx2: true });
  const called = [...found, ...without].filter(
    ({ engine }) => wanted === undefined || isCalled(engine, wanted),
  );
  if (called.length > 0)
    return eachOnce(called).sort((a, b) => compareVersions(b.engine.version, a.engine.version));
  const there = [...new Set(found.map(({ engine }) => engine.id))].join(', ');
  throw new FarmError('ENGINE_NOT_FOUND', `there is no engine ${wanted} here, only ${there}`);
}

/** Two cards of one kind are one class, and so is a CPU that never had AVX2. */
function eachOnce<T extends { engine: EngineInfo }>(classes: readonly T[]): T[] {
  const seen = new Map(classes.map((one) => [`${one.engine.id} ${one.engine.deviceClass}`, one]));
  return [...seen.values()];
}
