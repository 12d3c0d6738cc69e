import { execFile, spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import { sandboxArguments } from '../../platform/render/process/sandbox.ts';
import { renderRuntimeConformance } from './conformance.ts';
import { makeFixtures, temporaryFolder } from './support.ts';

const run = promisify(execFile);
const HERE = dirname(fileURLToPath(import.meta.url));
const { signal } = new AbortController();
/** Blender starts several times, on a machine that may do other things too. */
const TIMEOUT_MS = 300_000;

renderRuntimeConformance('process', (options) => createProcessRuntime(options));

/** Processes that have this folder mounted: everything inside a sandbox whose exchange folder lies there. */
async function processesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
    if (mounts.includes(folder)) found.push(pid);
  }
  return found;
}

describe('process runtime', { timeout: TIMEOUT_MS }, () => {
  it('says what is missing', async () => {
    const nowhere = { signal, programFolders: ['/nonexistent'] };
    await expect(createProcessRuntime({ signal, blenderPath: '/nonexistent/blender' })).rejects.toMatchObject(
      {
        code: 'BLENDER_NOT_FOUND',
      },
    );
    await expect(createProcessRuntime({ signal, blenderPath: '/usr/bin/true' })).rejects.toMatchObject({
      code: 'BLENDER_NOT_FOUND',
    });
    await expect(createProcessRuntime({ ...nowhere, blenderPath: '/usr/bin/blender' })).rejects.toMatchObject(
      { code: 'SANDBOX_NOT_FOUND' },
    );
  });

  it('reports a Blender that does not get going, with its last words', async () => {
    await using folder = await temporaryFolder();
    const program = join(folder.path, 'blender');
    const script =
      '#!/bin/sh\ncase "$1" in --version) echo "Blender 9.9.9";; *) echo "no display" >&2; exit 3;; esac\n';
    await writeFile(program, script, { mode: 0o755 });
    const runtime = await createProcessRuntime({ signal, blenderPath: program });
    expect(runtime.engine.id).toBe('blender-9.9.9');
    const opening = runtime.open({ root: folder.path, main: 'a.blend' }, { signal, threads: 1 });
    await expect(opening).rejects.toMatchObject({
      code: 'RENDER_FAILED',
      message: expect.stringContaining('no display'),
    });
  });

  it('is another device class without AVX2, with other pixels', async () => {
    await using folder = await temporaryFolder();
    await makeFixtures(folder.path);
    const digests: string[] = [];
    const classes: string[] = [];
    for (const withoutAvx2 of [false, true]) {
      const runtime = await createProcessRuntime({ signal, withoutAvx2 });
      await using session = await runtime.open(
        { root: folder.path, main: 'plain.blend' },
        { signal, threads: 1 },
      );
      const rect = { x: 0, y: 0, width: 97, height: 55 };
      const output = join(folder.path, 'x.exr');
      digests.push((await session.render({ frame: 1, rect, samples: 64, output }, { signal })).pixelDigest);
      classes.push(runtime.engine.deviceClass);
    }
    if (classes[0] !== 'cpu-avx2') return;
    expect(classes[1]).not.toBe(classes[0]);
    expect(digests[1]).not.toBe(digests[0]);
  });

  it('leaves nothing running when its parent is killed', async () => {
    await using folder = await temporaryFolder();
    const scenes = join(folder.path, 'scenes');
    const exchange = join(folder.path, 'exchange');
    await mkdir(exchange);
    await makeFixtures(scenes);
    const parameters = ['--import', 'tsx', join(HERE, 'orphan.ts'), scenes, exchange];
    const child = spawn(process.execPath, parameters, { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    expect((await processesIn(exchange)).length).toBeGreaterThan(0);
    child.kill('SIGKILL');
    await expect.poll(() => processesIn(exchange), { timeout: 30_000 }).toEqual([]);
  });

  it('lets a session give way where it is told to, in the eyes of Linux and not in number only', async () => {
    await using folder = await temporaryFolder();
    const [scenes, exchange] = [join(folder.path, 'scenes'), join(folder.path, 'exchange')];
    await mkdir(exchange);
    await makeFixtures(scenes);
    const runtime = await createProcessRuntime({ signal, tempFolder: exchange, niceness: 19 });
    const opening = runtime.open({ root: scenes, main: 'plain.blend' }, { signal, threads: 1 });
    await using _session = await opening;
    const weights = async (): Promise<string[]> =>
      await Promise.all(
        (await processesIn(exchange)).map(async (pid) =>
          // Without this file the kernel has no autogroups, and the usual niceness is all there is.
          (await readFile(`/proc/${pid}/autogroup`, 'utf8').catch(() => 'nice 19'))
            .replace(/^.*nice/s, 'nice')
            .trim(),
        ),
      );
    await expect.poll(async () => [...new Set(await weights())], { timeout: 30_000 }).toEqual(['nice 19']);
  });

  it('gives the sandbox nothing but the scene', async () => {
    await using folder = await temporaryFolder();
    const folders = {
      scene: join(folder.path, 's'),
      input: join(folder.path, 'i'),
      output: join(folder.path, 'o'),
    };
    await Promise.all(Object.values(folders).map((path) => mkdir(path)));
    const probe = `
import json, os, resource, socket
def writable(path):
    try:
        open(path + '/probe', 'w').close()
        return True
    except OSError:
        return False
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
print(json.dumps({
    'uid': os.getuid(), 'capabilities': int(status['CapEff'], 16), 'noNewPrivileges': status['NoNewPrivs'].strip(),
    'network': [name for _, name in socket.if_nameindex()], 'environment': sorted(os.environ),
    'writable': [p for p in ['/', '/usr', '/etc', '/scene', '/in', '/tessera/session', '/out', '/tmp'] if writable(p)],
    'root': sorted(os.listdir('/')), 'processes': [p for p in os.listdir('/proc') if p.isdigit()],
    'core': resource.getrlimit(resource.RLIMIT_CORE)[1], 'file': resource.getrlimit(resource.RLIMIT_FSIZE)[1],
    'home': os.path.exists('/root') or os.path.exists('/home') or os.path.exists('/etc/passwd'),
}))`;
    const parameters = sandboxArguments(
      {
        programPath: '/usr/bin/python3',
        pythonFolder: HERE,
        folders,
        limits: { fileBytes: 1000, scratchBytes: 2 ** 20, processes: 50 },
        prlimitPath: '/usr/bin/prlimit',
        withoutAvx2: false,
      },
      ['-c', probe],
    );
    const { stdout } = await run('bwrap', parameters, { env: { SECRET: 'x' } });
    expect(JSON.parse(stdout)).toEqual({
      uid: 1000,
      capabilities: 0,
      noNewPrivileges: '1',
      network: ['lo'],
      environment: expect.not.arrayContaining(['SECRET']),
      writable: ['/out', '/tmp'],
      root: expect.not.arrayContaining(['root', 'home', 'var', 'work']),
      processes: expect.any(Array),
      core: 0,
      file: 1000,
      home: false,
    });
    expect(JSON.parse(stdout).processes.length).toBeLessThan(4);
  });
});
