/** Names that a scene gives its extra files, checked before anything is done with them. Pure. */
import { FarmError } from '../../../protocol/errors.ts';
import { MAX_EXTRA_FILES, problemOfName, problemOfNames } from '../../../protocol/extra-files.ts';

/** Of a name in a message. */
const MAX_QUOTE = 100;

/**
 * Throws what the artist can mend: SCENE_UNSUPPORTED for a name that cannot be delivered, OUTPUT_LIMIT for too many.
 * Every node would give the same ones.
 */
export function requirePlainNames(names: readonly string[]): void {
  if (names.length > MAX_EXTRA_FILES) {
    throw new FarmError(
      'OUTPUT_LIMIT',
      `the scene's File Output nodes write ${names.length} files for one frame; ${MAX_EXTRA_FILES} are allowed`,
    );
  }
  for (const name of names) {
    const problem = problemOfName(name);
    if (problem === null) continue;
    // Quoted as JSON: a name may hold anything.
    const quoted = JSON.stringify(name.slice(0, MAX_QUOTE));
    throw new FarmError('SCENE_UNSUPPORTED', `a File Output node writes ${quoted}, which ${problem}`);
  }
  const problem = problemOfNames(names);
  if (problem !== null) throw new FarmError('SCENE_UNSUPPORTED', `the scene's File Output nodes: ${problem}`);
}
