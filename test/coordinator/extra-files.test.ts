import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { frameDetail, frameViews } from '../../coordinator/api/views.ts';
import { applyOutcome } from '../../coordinator/settlement/apply-outcome.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { receiptLeaf } from '../../proof/receipts.ts';
import type { Digest } from '../../protocol/ids.ts';
import { type TaskRow, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { batchFor, completeTask, completionOf, ended, leaseTo, signBatch } from './delivery.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

const CONTENT = Buffer.from('what a File Output node wrote');
const FILE = { name: 'renders/beauty0001.png', digest: digestBytes(CONTENT), sizeBytes: CONTENT.length };
const stored = (list: unknown): Promise<Digest> =>
  farm.context.blobs.putBytes(Buffer.from(JSON.stringify(list)));

/** A node has a whole frame, or a tile, and delivers it with this list of extra files. */
async function delivering(extraFilesDigest: Digest, what: 'wholes' | 'tiles' = 'wholes') {
  const node = await farm.addNode();
  const job = await farm.addJob({ whole: what === 'wholes', exr: false });
  const task = await leaseTo(farm, node, job[what][0] as TaskRow);
  const message = await completionOf(farm, node, task);
  const receipt = { ...message.receipt, extraFilesDigest };
  const batch = await batchFor(farm, node, task);
  const signed = signBatch(farm, node.key, job.id, batch, receiptLeaf(receipt), receipt.price);
  return {
    job,
    task,
    done: () => completeTask(farm.context, node.id, { ...message, receipt, batch: signed }),
  };
}

describe('the extra files of a delivered frame', () => {
  it('are listed with it, before its check and after', async () => {
    await farm.context.blobs.putBytes(CONTENT);
    const list = await stored({ version: 1, files: [FILE] });
    const { job, done } = await delivering(list);
    expect(await frameDetail(farm.context, job.id, 1)).toMatchObject({ extraFiles: null, files: [] });
    expect(await done()).toMatchObject({ moved: null });
    const shown = { frame: 1, state: 'unverified', extraFiles: list };
    expect(await frameViews(farm.context, job.id)).toEqual([expect.objectContaining(shown)]);
    expect(await frameDetail(farm.context, job.id, 1)).toMatchObject({ ...shown, files: [FILE] });
    await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
    await applyOutcome(farm.context, await farm.batchOf(job.id), ended('pass'));
    expect(await frameDetail(farm.context, job.id, 1)).toMatchObject({
      state: 'done',
      extraFiles: list,
      files: [FILE],
    });
  });

  it('go with it when its check fails', async () => {
    await farm.context.blobs.putBytes(CONTENT);
    const { job, done } = await delivering(await stored({ version: 1, files: [FILE] }));
    await done();
    await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
    await applyOutcome(farm.context, await farm.batchOf(job.id), ended('inconclusive'));
    expect(await frameViews(farm.context, job.id)).toEqual([
      expect.objectContaining({ state: 'pending', picture: null, extraFiles: null }),
    ]);
  });

  it.each([
    [
      'a name that leads out',
      { ...FILE, name: '../beauty0001.png' },
      /the name of a file is no relative path/,
    ],
    [
      'a name from the root',
      { ...FILE, name: '/etc/cron.d/job0001' },
      /the name of a file is no relative path/,
    ],
    ['the name of a script', { ...FILE, name: 'deploy1.sh' }, /does not end as a picture/],
    [
      'a file that is not here',
      { ...FILE, digest: digestBytes(Buffer.from('nothing')) },
      /was not delivered/,
    ],
    ['a file of another size', { ...FILE, sizeBytes: 1 }, /was not delivered/],
  ])('are refused with %s, and the lease is kept', async (_what, file, reason) => {
    await farm.context.blobs.putBytes(CONTENT);
    const { task, done } = await delivering(await stored({ version: 1, files: [file] }));
    await expect(done()).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      message: expect.stringMatching(reason),
    });
    expect((await farm.task(task.id)).state).toBe('leased');
  });

  it('are refused where the list is none, or was not delivered', async () => {
    for (const list of [await stored('nonsense'), digestBytes(Buffer.from('no such list'))]) {
      const { done } = await delivering(list);
      await expect(done()).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    }
  });

  it('are nothing that a tile comes with', async () => {
    await farm.context.blobs.putBytes(CONTENT);
    const { done } = await delivering(await stored({ version: 1, files: [FILE] }), 'tiles');
    await expect(done()).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      message: expect.stringContaining('extra files of a tile'),
    });
  });
});
