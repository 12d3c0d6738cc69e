import { join, relative } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressSchema,
  batchIdSchema,
  bytes32Schema,
  digestSchema,
  jobIdSchema,
  moneySchema,
  nodeIdSchema,
  signatureSchema,
  taskIdSchema,
  verifierIdSchema,
} from '../../protocol/ids.ts';
import { jobRequestSchema, sceneManifestSchema, scenePathSchema } from '../../protocol/job.ts';
import {
  appealSchema,
  deliverySchema,
  heartbeatSchema,
  nodeSubject,
  taskSubject,
} from '../../protocol/messages.ts';
import { rectSchema } from '../../protocol/rect.ts';

const ok = (schema: { safeParse(value: unknown): { success: boolean } }, value: unknown): boolean =>
  schema.safeParse(value).success;

describe('ids', () => {
  const schemas = [
    ['job', jobIdSchema, 'job_a1'],
    ['task', taskIdSchema, 'task_a1'],
    ['batch', batchIdSchema, 'batch_a1'],
    ['node', nodeIdSchema, 'node-1'],
    ['verifier', verifierIdSchema, 'verifier'],
  ] as const;

  it.each(schemas)('of a %s take their own form', (_name, schema, good) => {
    expect(ok(schema, good)).toBe(true);
  });

  it.each(schemas)(
    'of a %s refuse whatever means something in a subject, a URL or a path',
    (_name, schema, good) => {
      const special = fc.constantFrom(
        '.',
        '/',
        '\\',
        '*',
        '>',
        ' ',
        '\n',
        '\0',
        '%',
        '?',
        '#',
        '$',
        ':',
        '..',
        '\u202e',
        'É',
      );
      fc.assert(
        fc.property(special, fc.nat(good.length), (character, at) => {
          expect(ok(schema, good.slice(0, at) + character + good.slice(at))).toBe(false);
        }),
      );
      for (const bad of ['', good.toUpperCase(), `${good}\n`, good.repeat(20), 7, null])
        expect(ok(schema, bad)).toBe(false);
    },
  );

  it('of one kind are none of another', () => {
    for (const text of ['task_a1', 'batch_a1', 'a1', 'job_', 'job'])
      expect(ok(jobIdSchema, text)).toBe(false);
  });

  it('make subjects of a fixed number of parts, whatever they are', () => {
    const body = fc.stringMatching(/^[0-9a-z]{1,40}$/);
    fc.assert(
      fc.property(body, body, fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/), (job, task, node) => {
        const pointer = {
          jobId: jobIdSchema.parse(`job_${job}`),
          taskId: taskIdSchema.parse(`task_${task}`),
        };
        expect(taskSubject(pointer).split('.')).toHaveLength(3);
        expect(nodeSubject(nodeIdSchema.parse(node), 'lease').split('.')).toHaveLength(3);
      }),
    );
  });

  it('that are hashes take exactly their length in lower case', () => {
    expect(ok(digestSchema, 'ab'.repeat(32))).toBe(true);
    expect(ok(bytes32Schema, `0x${'ab'.repeat(32)}`)).toBe(true);
    expect(ok(signatureSchema, `0x${'ab'.repeat(64)}1b`)).toBe(true);
    for (const bad of ['AB'.repeat(32), 'ab'.repeat(31), 'ab'.repeat(33), `../${'ab'.repeat(30)}`, '']) {
      expect(ok(digestSchema, bad)).toBe(false);
      expect(ok(bytes32Schema, `0x${bad}`)).toBe(false);
    }
  });

  it('that are addresses come out in lower case, so that equal ones are equal strings', () => {
    expect(addressSchema.parse(`0x${'aB'.repeat(20)}`)).toBe(`0x${'ab'.repeat(20)}`);
    expect(ok(addressSchema, `0x${'ab'.repeat(19)}`)).toBe(false);
  });
});

describe('paths inside a scene', () => {
  const part = fc.constantFrom(
    '..',
    '.',
    '',
    'a',
    'b.png',
    '...',
    '..a',
    'C:',
    ' ',
    '~',
    '\\',
    '\\..\\',
    'x\0y',
    'textures',
  );

  it('never leave the folder they are joined to', () => {
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), fc.boolean(), (parts, rooted) => {
        const path = (rooted ? '/' : '') + parts.join('/');
        if (!ok(scenePathSchema, path)) return;
        const way = relative('/scene', join('/scene', path));
        expect(way).toBe(path);
        expect(way.split('/')).not.toContain('..');
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    '..',
    '../a',
    'a/../../b',
    'a/..',
    '/etc/passwd',
    'a//b',
    'a/',
    './a',
    'a/./b',
    'a\\..\\b',
    'C:\\a',
    'a\0b',
    '',
  ])('refuse %j', (path) => {
    expect(ok(scenePathSchema, path)).toBe(false);
  });

  it.each(['scene.blend', 'textures/Wood 01 (final).png', '..hidden/a', 'ünï/çode.exr', 'a/...'])(
    'take %j',
    (path) => {
      expect(scenePathSchema.parse(path)).toBe(path);
    },
  );

  it('stop at 512 characters', () => {
    expect(ok(scenePathSchema, 'a'.repeat(512))).toBe(true);
    expect(ok(scenePathSchema, 'a'.repeat(513))).toBe(false);
  });
});

describe('a scene', () => {
  const file = (path: string) => ({ path, digest: 'ab'.repeat(32), sizeBytes: 1 });
  it('lists its main file and no path twice', () => {
    expect(ok(sceneManifestSchema, { main: 'a.blend', files: [file('a.blend'), file('b.png')] })).toBe(true);
    expect(ok(sceneManifestSchema, { main: 'a.blend', files: [file('b.png')] })).toBe(false);
    expect(ok(sceneManifestSchema, { main: 'a.blend', files: [file('a.blend'), file('a.blend')] })).toBe(
      false,
    );
    expect(ok(sceneManifestSchema, { main: 'a.blend', files: [] })).toBe(false);
  });
});

describe('money', () => {
  const most = 2n ** 96n - 1n;

  it('is read exactly, from text and from bigint, over the whole range of the contract', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: most }), (amount) => {
        expect(moneySchema.parse(amount.toString())).toBe(amount);
        expect(moneySchema.parse(amount)).toBe(amount);
      }),
      { examples: [[0n], [most], [2n ** 53n + 1n]] },
    );
  });

  it('is nothing beyond that range, and no other spelling of a number', () => {
    const beyond = [most + 1n, (most + 1n).toString(), -1n, '-1', '9'.repeat(40)];
    for (const value of [...beyond, '1.5', '1e3', '0x10', ' 1', '', '１', 5, null])
      expect(ok(moneySchema, value)).toBe(false);
  });
});

describe('requests', () => {
  const request = { scene: 'ab'.repeat(32), name: 'a' };
  it('take a job with nothing but a scene and a name', () => {
    expect(jobRequestSchema.parse(request)).toEqual({
      ...request,
      tiles: 'auto',
      engine: 'auto',
      device: 'any',
    });
  });

  it.each<[string, object]>([
    ['no frames', { frames: [] }],
    ['a frame twice', { frames: [1, 2, 1] }],
    ['a frame beyond Blender', { frames: [1_048_575] }],
    ['half a frame', { frames: [1.5] }],
    ['more than 100,000 frames', { frames: Array.from({ length: 100_001 }, (_, index) => index) }],
    ['a grid of nothing', { tiles: { columns: 0, rows: 1 } }],
    ['a grid too fine', { tiles: { columns: 65, rows: 1 } }],
    ['a word for a grid', { tiles: 'many' }],
    ['a negative budget', { budget: '-1' }],
    ['an unknown field', { urgency: 1 }],
    ['no share at all', { priority: 0 }],
    ['an account that is no name', { account: 'a b' }],
    ['no nodes', { maxNodes: 0 }],
  ])('refuse a job with %s', (_what, changes) => {
    expect(ok(jobRequestSchema, { ...request, ...changes })).toBe(false);
  });

  it('refuse rectangles outside what Blender and the contract hold', () => {
    const rect = { x: 0, y: 0, width: 1, height: 1 };
    expect(ok(rectSchema, { x: 65_536, y: 65_536, width: 65_536, height: 65_536 })).toBe(true);
    for (const bad of [
      { width: 0 },
      { x: -1 },
      { height: 65_537 },
      { y: 0.5 },
      { x: Number.NaN },
      { width: Infinity },
    ]) {
      expect(ok(rectSchema, { ...rect, ...bad })).toBe(false);
    }
  });

  it('refuse heartbeats beyond a whole and more leases than a node can hold', () => {
    const lease = { taskId: 'task_a', token: 1, progress: 0.5 };
    expect(ok(heartbeatSchema, { leases: [lease] })).toBe(true);
    for (const bad of [{ progress: 1.1 }, { progress: -0.1 }, { token: 0 }, { taskId: 'task.a' }]) {
      expect(ok(heartbeatSchema, { leases: [{ ...lease, ...bad }] })).toBe(false);
    }
    expect(ok(heartbeatSchema, { leases: Array.from({ length: 65 }, () => lease) })).toBe(false);
  });

  it('take an appeal with everything that is signed, or none, and nothing beside it', () => {
    const permit = { value: '5', nonce: '0', deadline: 9, signature: `0x${'ab'.repeat(64)}1b` };
    const dispute = { disputer: `0x${'a1'.repeat(20)}`, bond: '5', signature: permit.signature, permit };
    const appeal = { batchId: 'batch_a1', seed: `0x${'5e'.repeat(32)}`, reason: 'right', dispute };
    expect(appealSchema.parse(appeal).dispute).toMatchObject({ bond: 5n, permit: { value: 5n, nonce: 0n } });
    expect(ok(appealSchema, { ...appeal, dispute: null })).toBe(true);
    const { permit: _left, ...unpermitted } = dispute;
    for (const bad of [
      { dispute: undefined },
      { dispute: unpermitted },
      { dispute: { ...dispute, bond: '-5' } },
      { dispute: { ...dispute, bond: (2n ** 96n).toString() } },
      { dispute: { ...dispute, signature: '0x' } },
      { dispute: { ...dispute, outcome: 'fail' } },
      { dispute: { ...dispute, permit: { ...permit, deadline: -1 } } },
      { dispute: { ...dispute, permit: { ...permit, spender: dispute.disputer } } },
      { reason: 'x'.repeat(1_001) },
      { reason: 'right\u001b[2J' },
      { reason: 'right\nwrong' },
      { seed: '0x5e' },
      { node: 'node-2' },
    ])
      expect(ok(appealSchema, { ...appeal, ...bad }), JSON.stringify(bad)).toBe(false);
  });

  it('refuse times that the farm could not keep', () => {
    const times = deliverySchema.pick({ renderMs: true, peakMemoryBytes: true });
    expect(ok(times, { renderMs: 3_600_000, peakMemoryBytes: 2 ** 40 })).toBe(true);
    for (const renderMs of [-1, Number.NaN, Infinity, 2 ** 31])
      expect(ok(times, { renderMs, peakMemoryBytes: 0 })).toBe(false);
  });
});
