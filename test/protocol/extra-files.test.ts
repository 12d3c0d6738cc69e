import { join, resolve, sep } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { requirePlainNames } from '../../platform/render/session/extra-names.ts';
import {
  extraFileListSchema,
  MAX_EXTRA_BYTES,
  MAX_EXTRA_FILES,
  problemOfName,
} from '../../protocol/extra-files.ts';

const DIGEST = 'ab'.repeat(32);
const listOf = (files: { name: string; sizeBytes?: number }[]) => ({
  version: 1,
  files: files.map((file) => ({ digest: DIGEST, sizeBytes: 1, ...file })),
});

describe('the name of an extra file', () => {
  it.each([
    'beauty0001.png',
    'renders/single/shots/part_002_of_3.png',
    'up0002.exr',
    'Räume/日本0001.TIF',
    'a b/image-0001.jpg',
    // With file extensions off.
    'image0001',
    'v1.2_0001',
    'shot_02_final',
  ])('can be %j', (name) => {
    expect(problemOfName(name)).toBeNull();
  });

  it.each([
    ['', /relative path/],
    ['/etc/cron.d/job0001.png', /relative path/],
    ['../up0001.png', /relative path/],
    ['a/../../up0001.png', /relative path/],
    ['a//b0001.png', /relative path/],
    ['./a0001.png', /relative path/],
    ['a\\b0001.png', /relative path/],
    ['C:/b0001.png', /letters/],
    ['a\n0001.png', /letters/],
    ['a\u001b[2J0001.png', /letters/],
    ['a\ud8000001.png', /letters/],
    ['.git/hooks0001', /dot/],
    ['a/.b0001.png', /dot/],
    ['a./b0001.png', /dot/],
    ['a0001.png ', /dot/],
    ['run_1.sh', /picture/],
    ['scene1.blend', /picture/],
    ['picture.png', /frame number/],
    ['Makefile', /frame number/],
    [`${'a/'.repeat(17)}b0001.png`, /folders deep/],
    [`${'ä'.repeat(128)}0001.png`, /255 bytes/],
    [`${'a/'.repeat(250)}${'b'.repeat(20)}1.png`, /512 letters/],
  ])('cannot be %j', (name, reason) => {
    expect(problemOfName(name)).toMatch(reason);
    // The session says so as the scene's fault, before anything is done with the file.
    expect(() => requirePlainNames(['fine0001.png', name])).toThrow(
      expect.objectContaining({ code: 'SCENE_UNSUPPORTED' }),
    );
    // From a node it is no list.
    expect(extraFileListSchema.safeParse(listOf([{ name }])).success).toBe(false);
  });

  it('joined to a folder never leaves it, whatever letters it is made of', () => {
    const nasty = fc.array(
      fc.constantFrom('..', '.', '/', '\\', 'a', '0', '.png', ' ', '\0', ':', '~', '日'),
      {
        maxLength: 12,
      },
    );
    fc.assert(
      fc.property(nasty, (letters) => {
        const name = letters.join('');
        if (problemOfName(name) !== null) return;
        expect(resolve(join('/out', name)).startsWith(`/out${sep}`)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the extra files of a frame', () => {
  test('are a list', () => {
    expect(extraFileListSchema.parse(listOf([{ name: 'a1.png' }, { name: 'b/a1.png' }])).files).toHaveLength(
      2,
    );
  });

  test.each([
    ['none', []],
    ['the same name twice', [{ name: 'a1.png' }, { name: 'A1.PNG' }]],
    ['a file that is a folder too', [{ name: 'a1' }, { name: 'a1/b1.png' }]],
    ['too many', Array.from({ length: MAX_EXTRA_FILES + 1 }, (_, index) => ({ name: `${index}.png` }))],
    [
      'too much together',
      [
        { name: 'a1.png', sizeBytes: MAX_EXTRA_BYTES },
        { name: 'b1.png', sizeBytes: 1 },
      ],
    ],
    ['a negative size', [{ name: 'a1.png', sizeBytes: -1 }]],
  ])('are not %s', (_what, files) => {
    expect(extraFileListSchema.safeParse(listOf(files)).success).toBe(false);
  });

  test('are the scene’s fault where there are too many of them, or two of one name', () => {
    const many = Array.from({ length: MAX_EXTRA_FILES + 1 }, (_, index) => `${index}.png`);
    expect(() => requirePlainNames(many)).toThrow(expect.objectContaining({ code: 'OUTPUT_LIMIT' }));
    expect(() => requirePlainNames(['a1.png', 'A1.png'])).toThrow(
      expect.objectContaining({ code: 'SCENE_UNSUPPORTED' }),
    );
    expect(() => requirePlainNames(many.slice(1))).not.toThrow();
  });
});
