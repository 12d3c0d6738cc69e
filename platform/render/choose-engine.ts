/** Which of the engines there are renders a job. Pure. */
import { FarmError } from '../../protocol/errors.ts';
import type { SavedWith } from './blend-header.ts';
import { compareVersions } from './images/list.ts';
import type { EngineInfo } from './runtime.ts';

/**
 * `wanted` is an engine's id, a version such as 4.3.2 or 4.3, or `auto`: the nearest engine that can open the file,
 * which is one of the same major and minor version, else the next newer one, never an older one. A file whose version
 * is not known goes to the newest: it opens what all older ones wrote. Containers come before local programs.
 */
export function chooseEngine<E extends EngineInfo>(
  savedWith: SavedWith | null,
  engines: readonly E[],
  wanted: string,
): E {
  const fitting = engines.filter((engine) => fits(engine, wanted, savedWith));
  const nearestFirst = wanted === 'auto' && savedWith !== null;
  const [best] = fitting.sort(
    (a, b) =>
      (nearestFirst ? compareMinor(a, b) : 0) ||
      compareVersions(b.version, a.version) ||
      preference(a) - preference(b),
  );
  if (best !== undefined) return best;
  const there = engines.map((engine) => engine.id).join(', ') || 'none';
  const what =
    wanted === 'auto' && savedWith !== null
      ? `the scene was saved by Blender ${savedWith.major}.${savedWith.minor}, and every engine here is older`
      : `there is no engine ${wanted}`;
  throw new FarmError('ENGINE_NOT_FOUND', `${what}; the engines here: ${there}`, {
    kept: 'nothing was submitted',
    details: { engines: engines.map((engine) => engine.id) },
  });
}

/** Whether the engine is older than the one that saved the file, and may not understand all of it. */
export function isOlder(engine: Pick<EngineInfo, 'version'>, savedWith: SavedWith): boolean {
  return minorOf(engine) < savedWith.major * 1_000 + savedWith.minor;
}

function fits(engine: EngineInfo, wanted: string, savedWith: SavedWith | null): boolean {
  if (wanted === 'auto') return savedWith === null || !isOlder(engine, savedWith);
  return isCalled(engine, wanted);
}

/** Whether `name` is the engine's id, its version, or the beginning of that up to a dot. */
export function isCalled({ id, version }: Pick<EngineInfo, 'id' | 'version'>, name: string): boolean {
  return id === name || version === name || version.startsWith(`${name}.`);
}

function minorOf({ version }: Pick<EngineInfo, 'version'>): number {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major * 1_000 + minor;
}

function compareMinor(a: EngineInfo, b: EngineInfo): number {
  return minorOf(a) - minorOf(b);
}

function preference(engine: EngineInfo): number {
  return engine.runtime === 'docker' ? 0 : 1;
}
