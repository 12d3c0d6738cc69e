import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { diskError, errorCode, readTextIfThere, writeFileAtomic } from '../../platform/files.ts';
import { toJson } from '../../platform/json.ts';
import { Mutex } from '../../platform/mutex.ts';
import { newIdBody } from '../../platform/new-id.ts';
import { whileUnreachable } from '../../platform/retry.ts';
import { backoffMs, pause } from '../../platform/wait.ts';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import { jobIdSchema } from '../../protocol/ids.ts';
import { tempFolder } from './temp-folder.ts';

describe('writing a file whole or not at all', () => {
  it('replaces the old file and leaves nothing beside it, readable by its owner only', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'keys.json');
    await writeFileAtomic(path, 'old');
    await writeFileAtomic(path, 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
    expect(await readdir(folder.path)).toEqual(['keys.json']);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('shows a reader one of the two contents whole, never a mixture', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'state');
    const contents = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(200_000));
    await writeFileAtomic(path, contents[0] ?? '');
    const writes = Promise.all(contents.map((content) => writeFileAtomic(path, content)));
    const seen: string[] = [];
    for (let read = 0; read < 20; read++) seen.push(await readFile(path, 'utf8'));
    await writes;
    expect(seen.filter((text) => !contents.includes(text))).toEqual([]);
  });

  it('leaves the old file and no leftovers when it cannot write', async () => {
    await using folder = await tempFolder();
    await expect(writeFileAtomic(join(folder.path, 'no', 'such', 'folder'), 'x')).rejects.toMatchObject({
      code: 'ENOENT',
    });
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('reads null where there is no file and goes on with every other error', async () => {
    await using folder = await tempFolder();
    expect(await readTextIfThere(join(folder.path, 'nothing'))).toBeNull();
    await writeFile(join(folder.path, 'some'), 'text');
    expect(await readTextIfThere(join(folder.path, 'some'))).toBe('text');
    await expect(readTextIfThere(folder.path)).rejects.toMatchObject({ code: 'EISDIR' });
  });

  it.each(['ENOSPC', 'EDQUOT'])('calls %s a full disk', (code) => {
    const cause = Object.assign(new Error('no space'), { code });
    const error = diskError(cause, '/data/blobs/x');
    expect(isFarmError(error, 'DISK_FULL')).toBe(true);
    expect(error).toMatchObject({ cause, message: expect.stringContaining('/data/blobs') });
  });

  it('leaves other errors as they are', () => {
    const cause = Object.assign(new Error('no'), { code: 'EACCES' });
    expect(diskError(cause, '/x')).toBe(cause);
    expect([errorCode(cause), errorCode(null), errorCode('text'), errorCode({ code: 5 })]).toEqual([
      'EACCES',
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe('patience with a farm that is away', () => {
  const never = new AbortController().signal;
  const away = new FarmError('FARM_UNREACHABLE', 'nobody there');

  it('tries again until the farm answers', async () => {
    vi.useFakeTimers();
    try {
      const work = vi
        .fn<() => Promise<string>>()
        .mockRejectedValueOnce(away)
        .mockRejectedValueOnce(away)
        .mockResolvedValue('answer');
      const result = whileUnreachable(work, never, 60_000);
      await vi.runAllTimersAsync();
      expect(await result).toBe('answer');
      expect(work).toHaveBeenCalledTimes(3);
    } finally {
      vi.useRealTimers();
    }
  });

  it('does not repeat what failed for another reason', async () => {
    const work = vi.fn<() => Promise<string>>().mockRejectedValue(new FarmError('LEASE_LOST', 'over'));
    await expect(whileUnreachable(work, never, 60_000)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(work).toHaveBeenCalledTimes(1);
  });

  it('gives up when its time is over', async () => {
    const work = vi.fn<() => Promise<string>>().mockRejectedValue(away);
    await expect(whileUnreachable(work, never, -1)).rejects.toBe(away);
    expect(work).toHaveBeenCalledTimes(1);
  });

  it('gives up at once when it is told to stop', async () => {
    const stopping = new AbortController();
    const work = vi.fn<() => Promise<string>>().mockRejectedValue(away);
    const result = whileUnreachable(work, stopping.signal, 60_000);
    stopping.abort();
    await expect(result).rejects.toBe(away);
    expect(work.mock.calls.length).toBeLessThanOrEqual(2);
  });

  it('waits longer each time, but never more than ten seconds nor less than half', () => {
    const ceilings = [0, 1, 2, 5, 6, 100].map((attempt) => backoffMs(attempt, () => 1));
    expect(ceilings).toEqual([200, 400, 800, 6_400, 10_000, 10_000]);
    expect(backoffMs(3, () => 0)).toBe(backoffMs(3, () => 1) / 2);
  });

  it('does not wait at all when told to stop before', async () => {
    const stopped = AbortSignal.abort();
    await expect(pause(3_600_000, stopped)).resolves.toBeUndefined();
  });
});

describe('small things everything leans on', () => {
  it('runs one piece of work at a time in the order of asking, failures included', async () => {
    const mutex = new Mutex();
    const order: string[] = [];
    let running = 0;
    const work = (name: string, fails: boolean) => async () => {
      running += 1;
      order.push(`${name} ${running}`);
      await Promise.resolve();
      running -= 1;
      if (fails) throw new Error(name);
    };
    const results = await Promise.allSettled([
      mutex.run(work('a', false)),
      mutex.run(work('b', true)),
      mutex.run(work('c', false)),
    ]);
    expect(order).toEqual(['a 1', 'b 1', 'c 1']);
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('makes ids that fit the protocol, sort by time and never repeat', () => {
    const early = Array.from({ length: 500 }, () => newIdBody(1_700_000_000_000));
    const late = newIdBody(1_700_000_000_001);
    expect(new Set(early).size).toBe(500);
    expect(early.every((id) => id < late)).toBe(true);
    expect(early.every((id) => jobIdSchema.safeParse(`job_${id}`).success)).toBe(true);
  });

  it('writes money as text in JSON', () => {
    expect(toJson({ amount: 2n ** 95n, list: [1n] })).toBe(
      '{"amount":"39614081257132168796771975168","list":["1"]}',
    );
  });
});
