import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { startOwnProgram, startProgram } from '../../platform/process/child.ts';
import { ProcessRecord, startedAt, stillRuns } from '../../platform/process/process-record.ts';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 30_000 });

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A process that lives until it is ended, with its pid. */
async function sleeper(script = 'setInterval(() => {}, 1e6)'): Promise<{ child: ChildProcess; pid: number }> {
  const child = spawn(process.execPath, ['-e', `${script}; console.log("up")`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(child);
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return { child, pid: child.pid as number };
}

describe('the record of processes', () => {
  it('ends what an earlier farm left running, and forgets it', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'processes.json');
    const { child, pid } = await sleeper();
    await new ProcessRecord(path).add('node-1', pid);
    const exited = once(child, 'exit');
    expect(await new ProcessRecord(path).sweep()).toEqual(['node-1']);
    expect((await exited)[1]).toBe('SIGTERM');
    expect(await new ProcessRecord(path).sweep()).toEqual([]);
  });

  it('does not touch a process that was given the same number later', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'processes.json');
    const { child, pid } = await sleeper();
    await writeFile(path, JSON.stringify([{ name: 'node-1', pid, startedAt: '1' }]));
    expect(await new ProcessRecord(path).sweep()).toEqual([]);
    expect(await startedAt(pid)).not.toBeNull();
    expect(child.exitCode).toBeNull();
  });

  it('has nothing to do where there is no record, or a broken one', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'processes.json');
    expect(await new ProcessRecord(path).sweep()).toEqual([]);
    await writeFile(path, '[{"name":');
    expect(await new ProcessRecord(path).sweep()).toEqual([]);
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual([]);
  });

  it('replaces a process that was started again under its name, and keeps several added at once', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'processes.json');
    const [first, second, third] = await Promise.all([sleeper(), sleeper(), sleeper()]);
    const record = new ProcessRecord(path);
    await record.add('node-1', first.pid);
    await Promise.all([record.add('node-1', second.pid), record.add('node-2', third.pid)]);
    const stored = JSON.parse(await readFile(path, 'utf8')) as { name: string; pid: number }[];
    expect(stored.map(({ name, pid }) => [name, pid]).toSorted()).toEqual([
      ['node-1', second.pid],
      ['node-2', third.pid],
    ]);
  });

  it('knows a process by its start time and an ended one not at all', async () => {
    const { child, pid } = await sleeper();
    const started = await startedAt(pid);
    expect(await stillRuns({ name: 'x', pid, startedAt: started ?? '' })).toBe(true);
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    expect(await startedAt(pid)).toBeNull();
    expect(await stillRuns({ name: 'x', pid, startedAt: started ?? '' })).toBe(false);
  });
});

describe('starting programs', () => {
  it('writes their output into the log and ends them on request', async () => {
    await using folder = await tempFolder();
    const logFile = join(folder.path, 'x.log');
    const child = await startProgram({
      name: 'x',
      command: process.execPath,
      args: ['-e', 'console.log("hello"); setInterval(() => {}, 1e6)'],
      logFile,
    });
    await vi.waitFor(async () => expect(await readFile(logFile, 'utf8')).toContain('hello'), {
      timeout: 10_000,
    });
    await child.stop();
    expect(await child.exited).toBe('was ended by SIGTERM');
    expect(await startedAt(child.pid)).toBeNull();
  });

  it('says PROGRAM_NOT_FOUND for a program that is not there', async () => {
    await using folder = await tempFolder();
    const starting = startProgram({
      name: 'x',
      command: '/no/such/program',
      args: [],
      logFile: join(folder.path, 'x.log'),
    });
    await expect(starting).rejects.toMatchObject({ code: 'PROGRAM_NOT_FOUND' });
  });

  it('waits until one of our own says that it works, and passes on what it says', async () => {
    await using folder = await tempFolder();
    const script =
      'process.send({ type: "ready", info: { url: "http://here" } }); setInterval(() => {}, 1e6)';
    const child = await startOwnProgram({
      name: 'x',
      command: process.execPath,
      args: ['-e', script],
      logFile: join(folder.path, 'x.log'),
    });
    expect(child.info).toEqual({ url: 'http://here' });
    await child.stop();
  });

  it.each<[string, string, object]>([
    [
      'the error it failed with',
      'process.send({ type: "failed", code: "PORT_TAKEN", message: "port 1" }); setInterval(() => {}, 1e6)',
      { code: 'PORT_TAKEN', message: 'x: port 1' },
    ],
    [
      'INTERNAL for a code that is none',
      'process.send({ type: "failed", code: "toString", message: "odd" })',
      { code: 'INTERNAL' },
    ],
    [
      'the end of its log when it just ends',
      'console.error("last words"); process.exitCode = 3',
      { code: 'INTERNAL', message: expect.stringMatching(/ended with code 3[\s\S]*last words/) },
    ],
  ])('throws %s', async (_what, script, error) => {
    await using folder = await tempFolder();
    const starting = startOwnProgram({
      name: 'x',
      command: process.execPath,
      args: ['-e', script],
      logFile: join(folder.path, 'x.log'),
    });
    await expect(starting).rejects.toMatchObject(error);
  });
});
