import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findSequence, frameOfFile, wholeRange } from '../../cli/looks/frame-sequence.ts';
import { outputPath, parseMovieFormat } from '../../cli/looks/make-looks.ts';
import { writeGreys } from '../looks/pictures.ts';
import { probe } from '../movies/probe.ts';
import { temporaryFolder } from '../render/support.ts';
import { runCommand } from '../support/command.ts';

describe('the frames of a folder', () => {
  test.each([
    ['turntable_0012.png', 'turntable', 12],
    ['turntable_-0012.png', 'turntable', -12],
    ['turntable-0012.PNG', 'turntable', 12],
    ['0001.jpeg', 'frames', 1],
    ['shot2_v3.0042.tif', 'shot2_v3', 42],
    ['still_0001.exr', 'still', 1],
  ])('%s is of %s, number %i', (file, name, frame) => {
    expect(frameOfFile(file)).toMatchObject({ name, frame });
  });

  test.each(['turntable.mp4', 'turntable-contact-sheet.png', '.hidden_0001.png', 'notes_1.txt', '0001'])(
    '%s is none',
    (file) => {
      expect(frameOfFile(file)).toBeUndefined();
    },
  );

  test('are found in the order of their numbers, whatever the order of the names', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: -9_999, max: 99_999 }), { minLength: 1, maxLength: 50 }),
        (numbers) => {
          const files = numbers.map(
            (one) => `shot_${one < 0 ? '-' : ''}${String(Math.abs(one)).padStart(4, '0')}.png`,
          );
          const { name, frames } = findSequence(files, undefined, 'here');
          expect(name).toBe('shot');
          expect(frames.map(({ frame }) => frame)).toEqual([...numbers].sort((a, b) => a - b));
          const range = wholeRange(frames);
          expect([range[0], range.at(-1)]).toEqual([Math.min(...numbers), Math.max(...numbers)]);
          expect(range).toHaveLength(Math.max(...numbers) - Math.min(...numbers) + 1);
        },
      ),
    );
  });

  test('are the pictures where there are float EXRs as well', () => {
    const { frames } = findSequence(['a_1.exr', 'a_1.png', 'a_2.exr', 'a_2.png'], undefined, 'here');
    expect(frames.map(({ file }) => file)).toEqual(['a_1.png', 'a_2.png']);
  });

  test('have to be chosen where there are several, and be there', () => {
    const files = ['a_1.png', 'b_1.png'];
    expect(() => findSequence(files, undefined, 'here')).toThrow(expect.objectContaining({ code: 'USAGE' }));
    expect(findSequence(files, 'b', 'here').frames).toEqual([{ frame: 1, file: 'b_1.png' }]);
    expect(() => findSequence(files, 'c', 'here')).toThrow(/no frames called c in here; there are a, b/);
    expect(() => findSequence(['x.txt'], undefined, 'here')).toThrow(/no numbered pictures in here/);
    expect(() => findSequence(['a_1.png', 'a_0001.png'], undefined, 'here')).toThrow(
      /frame 1 is in here more than once/,
    );
  });
});

test('a result has the ending of what it is', () => {
  expect(outputPath(undefined, '/f', 'a.mp4')).toBe('/f/a.mp4');
  expect(outputPath('/x/b.mp4', '/f', 'a.mp4')).toBe('/x/b.mp4');
  expect(() => outputPath('/x/b.mov', '/f', 'a.mp4')).toThrow(/ends in \.mp4/);
  expect(() => parseMovieFormat('avi')).toThrow(/mp4, webm, prores/);
});

describe('tessera movie and contact-sheet', () => {
  test('make them of a folder, tell a person and a script where they are, and refuse gaps', async () => {
    await using folder = await temporaryFolder();
    const shots = join(folder.path, 'shots');
    await mkdir(shots);
    const frames = await writeGreys(shots, [1, 2, 3, 4, 5, 6]);
    const made = await runCommand(['movie', shots, '--format', 'webm', '--fps', '23.976', '--json']);
    const path = join(shots, 'shot.webm');
    expect(made.code).toBe(0);
    expect(JSON.parse(made.stdout)).toMatchObject({
      movie: { path, format: 'webm', frames: 6, framesPerSecond: '24000/1001', notes: [] },
    });
    expect(made.stderr).toContain('6 frame(s) of 64x48 at 24000/1001 fps, 0.3 s');
    expect(await probe(path)).toMatchObject({ frames: 6, r_frame_rate: '24000/1001' });
    const sheet = await runCommand(['contact-sheet', shots]);
    expect([sheet.code, sheet.stdout]).toEqual([0, '']);
    expect(sheet.stderr).toMatch(/^contact sheet .*shot-contact-sheet\.png: 6 frame\(s\)$/m);
    await rm(frames[3]?.path ?? '');
    const gap = await runCommand(['movie', shots, '--json']);
    expect(gap.code).toBe(2);
    expect(JSON.parse(gap.stdout)).toMatchObject({
      error: { code: 'FRAMES_MISSING', message: '1 of 6 frames are missing: 4', details: { missing: [4] } },
    });
    const chosen = await runCommand([
      'movie',
      shots,
      '--frames',
      '1-5x2',
      '--out',
      join(folder.path, 'x', 'odd.mp4'),
    ]);
    expect(chosen.code).toBe(0);
    expect((await probe(join(folder.path, 'x', 'odd.mp4'))).frames).toBe(3);
    expect((await readdir(shots)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('say what is wrong before anything is done', async () => {
    const cases: [string[], string, number][] = [
      [['movie', '/nowhere', '--format', 'avi'], 'USAGE', 2],
      [['movie', '/nowhere', '--fps', '0'], 'USAGE', 2],
      [['movie', '/nowhere', '--out', 'x.png'], 'USAGE', 2],
      [['movie', '/nowhere'], 'FRAMES_MISSING', 2],
      [['contact-sheet', '/nowhere'], 'FRAMES_MISSING', 2],
      [['contact-sheet', '/nowhere', '--out', 'x.jpg'], 'USAGE', 2],
    ];
    for (const [parameters, code, exitCode] of cases) {
      const result = await runCommand([...parameters, '--json']);
      expect(JSON.parse(result.stdout), parameters.join(' ')).toMatchObject({ error: { code } });
      expect(result.code).toBe(exitCode);
    }
  });
});
