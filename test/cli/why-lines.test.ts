import { describe, expect, it } from 'vitest';
import { parseSharing } from '../../cli/render/parse-options.ts';
import { whyLines } from '../../cli/why-lines.ts';
import { jobIdSchema, nodeIdSchema } from '../../protocol/ids.ts';
import type { JobWhy } from '../../protocol/why.ts';

describe('tessera why', () => {
  it('says the sentence, then the nodes, of many only the first', () => {
    const ids = Array.from({ length: 10 }, (_, index) => nodeIdSchema.parse(`node-${index}`));
    const why: JobWhy = {
      id: jobIdSchema.parse('job_a'),
      state: 'active',
      summary: '3 tasks wait',
      tasks: { queued: 3, waiting: 0, leased: 0, delivered: 0 },
      share: null,
      nodes: [
        { stand: 'busy', ids: ids.slice(0, 2), text: 'works on other jobs' },
        { stand: 'engine', ids, text: 'has no blender-4.3.2' },
      ],
    };
    expect(whyLines(why)).toEqual([
      '3 tasks wait',
      '  node-0, node-1: works on other jobs',
      '  node-0, node-1, node-2, node-3, node-4, node-5, node-6, node-7 and 2 more: has no blender-4.3.2',
    ]);
  });
});

describe('how a job shares the farm', () => {
  it('is asked for in words of the request', () => {
    expect(parseSharing({})).toEqual({});
    const given = { priority: '80', account: 'films', maxNodes: '3', pool: 'red', previewFirst: true };
    expect(parseSharing(given)).toEqual({ ...given, priority: 80, maxNodes: 3 });
  });

  it.each([
    { priority: '0' },
    { priority: '101' },
    { priority: '1e1' },
    { maxNodes: '-1' },
    { account: 'A' },
    { pool: '' },
  ])('is refused where it is no such thing: %j', (options) => {
    expect(() => parseSharing(options)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
