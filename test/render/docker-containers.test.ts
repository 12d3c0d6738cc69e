/** What a container keeps a scene from, and that none outlives its owner for long. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { launchContainer } from '../../platform/render/docker/container.ts';
import { containerRequest } from '../../platform/render/docker/container-request.ts';
import { containerUsage } from '../../platform/render/docker/container-usage.ts';
import { LABEL_OWNER, ownerLabels } from '../../platform/render/docker/owner.ts';
import { createDockerRuntime } from '../../platform/render/docker/runtime.ts';
import { sweepContainers } from '../../platform/render/docker/sweep.ts';
import { testImage } from './docker-support.ts';
import { makeFixtures, temporaryFolder } from './support.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const { signal } = new AbortController();
const MIB = 2 ** 20;

const PROBE = `
import json, os, resource, socket
def writable(path):
    try:
        open(path + '/probe', 'w').close()
        return True
    except OSError:
        return False
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
print(json.dumps({
    'uid': os.getuid(), 'groups': os.getgroups(), 'capabilities': int(status['CapEff'], 16),
    'bounding': int(status['CapBnd'], 16), 'noNewPrivileges': status['NoNewPrivs'].strip(),
    'seccomp': status['Seccomp'].strip(), 'network': [name for _, name in socket.if_nameindex()],
    'environment': sorted(os.environ),
    'writable': [p for p in ['/', '/usr', '/etc', '/var/tmp', '/scene', '/in', '/tessera/session', '/out', '/tmp',
                             '/dev', '/dev/shm', '/root'] if writable(p)],
    'core': resource.getrlimit(resource.RLIMIT_CORE)[1], 'file': resource.getrlimit(resource.RLIMIT_FSIZE)[1],
    'scratch': os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize,
    'processes': len([p for p in os.listdir('/proc') if p.isdigit()]),
}))`;

describe('a container', () => {
  it('has nothing but the scene, and no rights', async () => {
    const { docker, image } = await testImage();
    await using folder = await temporaryFolder();
    const [scene, input, output] = ['s', 'i', 'o'].map((name) => join(folder.path, name));
    const folders = { scene: scene ?? '', input: input ?? '', output: output ?? '' };
    await Promise.all(Object.values(folders).map((path) => mkdir(path)));
    // Writable by everybody on the host: only the mount keeps the container from it.
    spawnSync('chmod', ['777', ...Object.values(folders)]);
    const request = containerRequest({
      imageId: image.id,
      folders,
      pythonFolder: HERE,
      threads: 1,
      processors: docker.processors,
      user: { uid: 60_999, gid: 60_999 },
      limits: { memoryBytes: 512 * MIB, scratchBytes: MIB, fileBytes: 1000, processes: 50 },
      labels: await ownerLabels(folder.path),
      withoutAvx2: false,
      niceness: 0,
      devices: [],
    });
    const probe = launchContainer(docker, { ...request, Entrypoint: ['python3'], Cmd: ['-c', PROBE] });
    expect(await probe.exited).toMatchObject({ code: 0 });
    expect(JSON.parse(probe.output.text)).toEqual({
      uid: 60_999,
      groups: [60_999],
      capabilities: 0,
      bounding: 0,
      noNewPrivileges: '1',
      seccomp: '2',
      network: ['lo'],
      environment: ['HOME', 'HOSTNAME', 'LANG', 'PATH', 'TMPDIR'],
      writable: ['/out', '/tmp'],
      core: 0,
      file: 1000,
      scratch: MIB,
      // The program and the one that reaps.
      processes: 2,
    });
  });

  it('that takes too much memory is ended, and the error says so', async () => {
    const { docker, image } = await testImage();
    await using folder = await temporaryFolder();
    const scenes = join(folder.path, 'scenes');
    await makeFixtures(scenes);
    const limits = { memoryBytes: 64 * MIB };
    const runtime = await createDockerRuntime({ docker, image, owner: folder.path, limits });
    await expect(
      runtime.open({ root: scenes, main: 'plain.blend' }, { signal, threads: 1 }),
    ).rejects.toMatchObject({
      code: 'MEMORY_LIMIT',
      message: expect.stringContaining('needs more memory'),
    });
  });

  it('is not mistaken for another process that has its number here', () => {
    const watched = { outputFolder: '/tmp', maxProcesses: 10 };
    expect(containerUsage('f'.repeat(64), process.pid, watched)).toBeUndefined();
  });

  async function containersOf(owner: string): Promise<string[]> {
    const { docker } = await testImage();
    const filters = { label: [`${LABEL_OWNER}=${owner}`] };
    return (await docker.client.listContainers({ all: true, filters })).map(({ Id }) => Id);
  }

  it('of a killed program is removed when the next one starts, one of a living program is not', async () => {
    const { docker, image } = await testImage();
    await using folder = await temporaryFolder();
    const [scenes, mine, theirs] = ['scenes', 'mine', 'theirs'].map((name) => join(folder.path, name));
    if (scenes === undefined || mine === undefined || theirs === undefined) throw new Error('three paths');
    await Promise.all([mkdir(mine), mkdir(theirs)]);
    await makeFixtures(scenes);
    const runtime = await createDockerRuntime({ docker, image, owner: mine, tempFolder: mine });
    await using session = await runtime.open({ root: scenes, main: 'plain.blend' }, { signal, threads: 1 });
    const parameters = ['--import', 'tsx', join(HERE, 'orphan.ts'), scenes, theirs, 'docker'];
    const child = spawn(process.execPath, parameters, { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await sweepContainers(docker, signal);
    expect(await containersOf(theirs)).toHaveLength(1);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    // Every program that starts sweeps, so another test may be first: what counts is that it is gone.
    await vi.waitFor(
      async () => {
        await sweepContainers(docker, signal);
        expect(await containersOf(theirs)).toEqual([]);
      },
      { timeout: 60_000 },
    );
    expect(await containersOf(mine)).toHaveLength(1);
    expect((await session.inspect({ signal })).hasCamera).toBe(true);
  });

  it('is gone as soon as its session is closed', async () => {
    const { docker, image } = await testImage();
    await using folder = await temporaryFolder();
    const scenes = join(folder.path, 'scenes');
    await makeFixtures(scenes);
    const runtime = await createDockerRuntime({ docker, image, owner: folder.path });
    const session = await runtime.open({ root: scenes, main: 'plain.blend' }, { signal, threads: 1 });
    expect(await containersOf(folder.path)).toHaveLength(1);
    await session.close();
    expect(await containersOf(folder.path)).toEqual([]);
  });
});
