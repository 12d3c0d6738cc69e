import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { processesWith, runCommand, startCommand } from '../support/command.ts';
import { sample } from '../support/farm.ts';

const QUICK = ['--frames', '1', '--tiles', '2x1', '--samples', '2'];

/** Without the renderers that a farm starts ahead, which come and go by themselves. */
async function programsOf(data: string): Promise<string[]> {
  return (await processesWith(data)).filter((line) => !/\b(bwrap|blender)\b/.test(line));
}

describe('tessera up', () => {
  let data: string;
  let out: string;
  beforeEach(async () => {
    data = await mkdtemp(join(tmpdir(), 'tessera-up-'));
    out = join(data, 'frames');
  });
  afterEach(async () => {
    await rm(data, { recursive: true, force: true });
  });

  const up = () => startCommand(['up', '--data', data, '--port', '0', '--nodes', '1']);
  const render = () =>
    runCommand([
      'render',
      sample('turntable'),
      ...QUICK,
      '--exr',
      '--data',
      data,
      '--out',
      out,
      '--wait',
      '--json',
    ]);

  test('renders, leaves no process after Ctrl-C, and goes on from the same folder', {
    timeout: 900_000,
  }, async () => {
    const first = up();
    await first.line(/the farm works at/);
    const rendered = await render();
    expect(rendered.code).toBe(0);
    const { job, files } = JSON.parse(rendered.stdout);
    expect(job).toMatchObject({ state: 'completed', escrow: 'closed', refunded: '0' });
    expect((await stat(files[0].picture)).size).toBeGreaterThan(0);
    expect((await stat(files[0].exr)).size).toBeGreaterThan(0);
    expect((await processesWith(data)).length).toBeGreaterThan(4);

    first.child.kill('SIGINT');
    expect((await first.ended).code).toBe(0);
    expect(await processesWith(data)).toEqual([]);
    expect(await readdir(join(data, 'nodes', 'node-1', 'work'))).toEqual([]);

    const second = up();
    await second.line(/the farm works at/);
    const listed = await runCommand(['jobs', '--data', data, '--json']);
    expect(JSON.parse(listed.stdout).jobs).toMatchObject([
      { id: job.id, state: 'completed', spent: job.spent },
    ]);
    const nodes = await runCommand(['nodes', '--data', data, '--json']);
    expect(JSON.parse(nodes.stdout).nodes).toMatchObject([{ id: 'node-1', earned: job.spent }]);
    second.child.kill('SIGINT');
    await second.ended;
    expect(await processesWith(data)).toEqual([]);
  });

  test('killed with -9 in mid-job, the next start cleans up and finishes the job', {
    timeout: 900_000,
  }, async () => {
    const first = up();
    await first.line(/the farm works at/);
    const submitted = await runCommand([
      'render',
      sample('turntable'),
      '--frames',
      '1',
      '--tiles',
      '3x2',
      '--samples',
      '4',
      '--data',
      data,
      '--json',
    ]);
    const { job } = JSON.parse(submitted.stdout);
    first.child.kill('SIGKILL');
    await first.ended;
    const second = up();
    await second.line(/the farm works at/);
    const waited = await runCommand(['wait', job.id, '--data', data, '--out', out, '--json']);
    expect(waited.code).toBe(0);
    expect(JSON.parse(waited.stdout).job).toMatchObject({
      state: 'completed',
      spent: job.quote,
      refunded: '0',
    });
    second.child.kill('SIGINT');
    await second.ended;
    expect(await processesWith(data)).toEqual([]);
  });

  test('refuses a folder that another farm holds, and a port that is taken, and starts nothing', {
    timeout: 900_000,
  }, async () => {
    const first = up();
    const line = await first.line(/the farm works at/);
    const port = /:(\d+),/.exec(line)?.[1] ?? '';
    const before = await programsOf(data);
    const again = await runCommand(['up', '--data', data, '--port', '0']);
    expect(again).toMatchObject({ code: 4, stderr: expect.stringContaining('DATA_FOLDER_IN_USE') });
    const other = await mkdtemp(join(tmpdir(), 'tessera-up-'));
    const taken = await runCommand(['up', '--data', other, '--port', port]);
    expect(taken).toMatchObject({ code: 4, stderr: expect.stringContaining('PORT_TAKEN') });
    expect(await processesWith(other)).toEqual([]);
    expect(await programsOf(data)).toEqual(before);
    expect(before.length).toBeGreaterThan(4);
    first.child.kill('SIGINT');
    await first.ended;
    await rm(other, { recursive: true, force: true });
  });
});
