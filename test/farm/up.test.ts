import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { processesWith, runCommand, startCommand } from '../support/command.ts';
import { sample } from '../support/farm.ts';

const QUICK = ['--frames', '1', '--tiles', '2x1', '--samples', '2'];
/** Longer than the command takes to end. */
const LONGER = ['--frames', '2', '--tiles', '3x2', '--samples', '4'];

/** Without the renderers that a farm starts ahead, which come and go by themselves. */
async function programsOf(data: string): Promise<string[]> {
  return (await processesWith(data)).filter((line) => !/\b(bwrap|blender)\b/.test(line));
}

/** One folder and its life: each test goes on where the one before it ended. */
describe('tessera up', { timeout: 900_000 }, () => {
  let data: string;
  let out: string;
  let running: ReturnType<typeof up> | undefined;
  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'tessera-up-'));
    out = join(data, 'frames');
  });
  afterAll(async () => {
    // Where a test failed in between.
    await end('SIGINT');
    await rm(data, { recursive: true, force: true });
  });

  const up = () => startCommand(['up', '--data', data, '--port', '0', '--nodes', '1']);
  const start = async (): Promise<string> => {
    running = up();
    return await running.line(/the farm works at/);
  };
  const end = async (signal: NodeJS.Signals): Promise<number | null | undefined> => {
    running?.child.kill(signal);
    return (await running?.ended)?.code;
  };
  const tessera = (command: string, ...parameters: string[]) =>
    runCommand([command, ...parameters, '--data', data, '--json']);
  let paid: { id: string; spent: string };
  let line: string;

  test('renders what it is given', async () => {
    line = await start();
    const rendered = await tessera('render', sample('turntable'), ...QUICK, '--exr', '--out', out, '--wait');
    expect(rendered.code).toBe(0);
    const { job, files } = JSON.parse(rendered.stdout);
    expect(job).toMatchObject({ state: 'completed', escrow: 'closed', refunded: '0' });
    expect((await stat(files[0].picture)).size).toBeGreaterThan(0);
    expect((await stat(files[0].exr)).size).toBeGreaterThan(0);
    paid = job;
  });

  test('refuses a folder that another farm holds, and a port that is taken, and starts nothing', async () => {
    const port = /:(\d+),/.exec(line)?.[1] ?? '';
    const before = await programsOf(data);
    const again = await runCommand(['up', '--data', data, '--port', '0']);
    expect(again).toMatchObject({ code: 4, stderr: expect.stringContaining('DATA_FOLDER_IN_USE') });
    const other = await mkdtemp(join(tmpdir(), 'tessera-up-'));
    const taken = await runCommand(['up', '--data', other, '--port', port]);
    expect(taken).toMatchObject({ code: 4, stderr: expect.stringContaining('PORT_TAKEN') });
    expect(await processesWith(other)).toEqual([]);
    await rm(other, { recursive: true, force: true });
    expect(await programsOf(data)).toEqual(before);
    expect(before.length).toBeGreaterThan(4);
  });

  test('leaves no process after Ctrl-C, and goes on from the same folder', async () => {
    expect((await processesWith(data)).length).toBeGreaterThan(4);
    expect(await end('SIGINT')).toBe(0);
    expect(await processesWith(data)).toEqual([]);
    expect(await readdir(join(data, 'nodes', 'node-1', 'work'))).toEqual([]);

    await start();
    const listed = await tessera('jobs');
    expect(JSON.parse(listed.stdout).jobs).toMatchObject([
      { id: paid.id, state: 'completed', spent: paid.spent },
    ]);
    const nodes = await tessera('nodes');
    expect(JSON.parse(nodes.stdout).nodes).toMatchObject([{ id: 'node-1', earned: paid.spent }]);
  });

  test('killed with -9 in mid-job, the next start cleans up and finishes the job', async () => {
    const submitted = await tessera('render', sample('turntable'), ...LONGER);
    const { job } = JSON.parse(submitted.stdout);
    await end('SIGKILL');
    await start();
    const waited = await tessera('wait', job.id, '--out', out);
    expect(waited.code).toBe(0);
    expect(JSON.parse(waited.stdout).job).toMatchObject({
      state: 'completed',
      spent: job.quote,
      refunded: '0',
    });
    await end('SIGINT');
    expect(await processesWith(data)).toEqual([]);
  });
});
