/** EXR files against each other, channel by channel, by name. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'compare-exr.py');
const BARE = ['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '--python-exit-code', '1'];
/** The system's Python, which starts in a fraction of Blender's time where it has what the script reads with. */
const PYTHON = '/usr/bin/python3';

export type Compared = {
  values: number;
  /** Null where the sizes differ already. */
  differing: number | null;
  channels: string[];
  missing: string[];
  formats: string[];
  attributes: string[];
};

/** What a comparison without any difference has. */
export const EQUAL = { differing: 0, channels: [], missing: [], formats: [], attributes: [] };

let found: Promise<{ program: string; parameters: string[] }> | undefined;

/** Blender brings numpy and OpenImageIO along where the system's Python does not have them. */
function interpreter(): Promise<{ program: string; parameters: string[] }> {
  found ??= run(PYTHON, ['-c', 'import numpy, OpenImageIO']).then(
    () => ({ program: PYTHON, parameters: [SCRIPT] }),
    () => ({ program: 'blender', parameters: [...BARE, '--python', SCRIPT] }),
  );
  return found;
}

/** `ignored` is the beginning of channel names that only the first may have. `folder` is for what passes between. */
export async function compareLayers(
  pairs: { first: string; second: string; ignored?: string | undefined }[],
  folder: string,
): Promise<Compared[]> {
  const own = await mkdtemp(join(folder, 'compare-'));
  const [source, target] = [join(own, 'pairs.json'), join(own, 'result.json')];
  await writeFile(source, JSON.stringify(pairs));
  const { program, parameters } = await interpreter();
  await run(program, [...parameters, '--', source, target]);
  return JSON.parse(await readFile(target, 'utf8'));
}
