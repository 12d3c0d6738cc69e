/** Opens a session, starts a long render, and waits to be killed. Arguments: scene folder, exchange folder, runtime. */
import { join } from 'node:path';
import { createDockerRuntime } from '../../platform/render/docker/runtime.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import { testImage } from './docker-support.ts';

const [root = '', tempFolder = '', kind = 'process'] = process.argv.slice(2);
const { signal } = new AbortController();
const runtime =
  kind === 'docker'
    ? await createDockerRuntime({ ...(await testImage()), owner: tempFolder, tempFolder })
    : await createProcessRuntime({ signal, tempFolder });
const session = await runtime.open({ root, main: 'plain.blend' }, { signal, threads: 1 });
const rect = { x: 0, y: 0, width: 97, height: 55 };
const work = session.render(
  { frame: 1, rect, samples: 60_000, output: join(tempFolder, 'never.exr') },
  { signal },
);
process.stdout.write('rendering\n');
await work;
