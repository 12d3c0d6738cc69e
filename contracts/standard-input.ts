/**
 * What a block explorer needs to find that a deployed contract is this source: the compiler's standard JSON input, with
 * every file that is imported in it.
 */
import { posix } from 'node:path';
import { readImport, SETTINGS, solc } from './build.ts';

export type StandardInput = {
  language: 'Solidity';
  sources: Record<string, { content: string }>;
  settings: typeof SETTINGS;
};

/** The input for these source files, with all that they import, and that their imports do. */
export function standardInput(roots: readonly string[]): StandardInput {
  const sources: StandardInput['sources'] = {};
  const missing = [...roots];
  for (let file = missing.pop(); file !== undefined; file = missing.pop()) {
    if (sources[file] !== undefined) continue;
    const read = readImport(file);
    if ('error' in read) throw new Error(`${file}: ${read.error}`);
    sources[file] = { content: read.contents };
    missing.push(...importsOf(file, read.contents));
  }
  return { language: 'Solidity', sources, settings: SETTINGS };
}

/** The compiler's full version, as explorers ask for it. */
export function compilerVersion(): string {
  return solc().version();
}

/** `import "a";` and `import {B} from "a";`, resolved as the compiler does: against the file that imports. */
function importsOf(file: string, content: string): string[] {
  const found = content.matchAll(/^\s*import\s+(?:[^"';]+\s+from\s+)?["']([^"']+)["']/gm);
  return Array.from(found, ([, path = '']) =>
    path.startsWith('.') ? posix.join(posix.dirname(file), path) : path,
  );
}
