import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import { hostileTable } from './cases.ts';
import { hostileScenes } from './hostile-scenes.ts';

hostileScenes('process', (options) => createProcessRuntime(options));

it('docs/hostile-scenes.md says what is tested (vitest -u writes it)', async () => {
  const page = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'docs', 'hostile-scenes.md');
  await expect(hostileTable()).toMatchFileSnapshot(page);
});
