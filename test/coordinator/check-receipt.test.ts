import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireReceiptFits } from '../../coordinator/scheduling/check-receipt.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { addressSchema, digestSchema, jobIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { DEVICE_CLASS, ENGINE, type TaskRow } from '../support/coordinator-context.ts';

const task: TaskRow = {
  id: taskIdSchema.parse('task_a1'),
  job_id: jobIdSchema.parse('job_a1'),
  kind: 'render',
  frame: 7,
  position: 0,
  tile: 3,
  x: 10,
  y: 20,
  width: 30,
  height: 40,
  samples: 16,
  price: '79228162514264337593543950335',
  state: 'leased',
  token: 1,
  published: true,
  node_id: null,
  lease_until: null,
  leased_at: null,
  progress: 0,
  losses: 0,
  batch_id: null,
  batch_index: null,
  leaf: null,
  receipt: null,
  render_ms: null,
};
const node = {
  address: addressSchema.parse(`0x${'ab'.repeat(20)}`),
  engine: ENGINE,
  device_class: DEVICE_CLASS,
};
const right: Receipt = {
  jobId: task.job_id,
  taskId: task.id,
  kind: 'render',
  node: node.address,
  frame: 7,
  rect: { x: 10, y: 20, width: 30, height: 40 },
  samples: 16,
  exrDigest: digestSchema.parse('1'.repeat(64)),
  pixelDigest: digestSchema.parse('2'.repeat(64)),
  pictureDigest: null,
  engine: ENGINE,
  deviceClass: DEVICE_CLASS,
  price: 79228162514264337593543950335n,
};

function refusalOf(receipt: Receipt, row = task): string | null {
  try {
    requireReceiptFits(receipt, row, node);
    return null;
  } catch (error) {
    if (isFarmError(error, 'MESSAGE_INVALID')) return error.message;
    throw error;
  }
}

describe('checking a receipt against the task that was leased', () => {
  it('takes a receipt that says what was asked for', () => {
    expect(refusalOf(right)).toBeNull();
  });

  it('takes a finish receipt with a picture', () => {
    const picture = digestSchema.parse('3'.repeat(64));
    expect(
      refusalOf({ ...right, kind: 'finish', pictureDigest: picture }, { ...task, kind: 'finish' }),
    ).toBeNull();
  });

  it('refuses a finish receipt without a picture and a tile with one', () => {
    expect(refusalOf({ ...right, kind: 'finish' }, { ...task, kind: 'finish' })).toContain('picture');
    expect(refusalOf({ ...right, pictureDigest: right.exrDigest })).toContain('picture');
  });

  const integer = fc.integer({ min: 0, max: 65_536 });
  const changes: fc.Arbitrary<[string, Receipt]> = fc.oneof(
    fc
      .constantFrom('job_b2', 'job_a11')
      .map((id): [string, Receipt] => ['jobId', { ...right, jobId: jobIdSchema.parse(id) }]),
    fc
      .constantFrom('task_b2', 'task_a11')
      .map((id): [string, Receipt] => ['taskId', { ...right, taskId: taskIdSchema.parse(id) }]),
    fc.constant<[string, Receipt]>(['kind', { ...right, kind: 'finish' }]),
    fc.constant<[string, Receipt]>(['node', { ...right, node: addressSchema.parse(`0x${'cd'.repeat(20)}`) }]),
    integer.filter((n) => n !== 7).map((frame): [string, Receipt] => ['frame', { ...right, frame }]),
    integer
      .filter((n) => n !== 10)
      .map((x): [string, Receipt] => ['rect.x', { ...right, rect: { ...right.rect, x } }]),
    integer
      .filter((n) => n !== 20)
      .map((y): [string, Receipt] => ['rect.y', { ...right, rect: { ...right.rect, y } }]),
    integer
      .filter((n) => n !== 30)
      .map((width): [string, Receipt] => ['rect.width', { ...right, rect: { ...right.rect, width } }]),
    integer
      .filter((n) => n !== 40)
      .map((height): [string, Receipt] => ['rect.height', { ...right, rect: { ...right.rect, height } }]),
    integer.filter((n) => n !== 16).map((samples): [string, Receipt] => ['samples', { ...right, samples }]),
    fc
      .string()
      .filter((text) => text !== ENGINE)
      .map((engine): [string, Receipt] => ['engine', { ...right, engine }]),
    fc
      .string()
      .filter((text) => text !== DEVICE_CLASS)
      .map((deviceClass): [string, Receipt] => ['deviceClass', { ...right, deviceClass }]),
    // One unit less, at a size where a JavaScript number would not see the difference.
    fc
      .bigInt({ min: 0n, max: right.price - 1n })
      .map((price): [string, Receipt] => ['price', { ...right, price }]),
    fc.constant<[string, Receipt]>(['price', { ...right, price: right.price - 1n }]),
  );
  it('refuses any changed field and names it', () => {
    fc.assert(
      fc.property(changes, ([field, receipt]) => {
        expect(refusalOf(receipt)).toContain(`the receipt's ${field} `);
      }),
      { numRuns: 300 },
    );
  });
});
