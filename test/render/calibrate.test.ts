/** `tessera calibrate` as a person runs it: a small scene, few crops, the classes of the local Blender's CPU. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Calibration } from '../../cli/calibrate/report.ts';
import { type CommandResult, processesWith, runCommand, startCommand } from '../support/command.ts';
import { makeFixtures, temporaryFolder } from './support.ts';

describe('tessera calibrate', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let temp: string;
  const scene = () => join(folder.path, 'scenes', 'plain.blend');
  const out = () => join(folder.path, 'out');
  const calibrate = (...options: string[]): Promise<CommandResult> =>
    runCommand(['calibrate', scene(), '--out', out(), ...options], { TMPDIR: temp });

  beforeAll(async () => {
    folder = await temporaryFolder();
    temp = join(folder.path, 'temp');
    await mkdir(temp);
    await makeFixtures(join(folder.path, 'scenes'));
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  it('measures every pair of classes, and writes the table and a plot', async () => {
    const done = await calibrate('--crops', '3', '--samples', '4');
    expect(done.code, done.stderr).toBe(0);
    const written: Calibration = JSON.parse(await readFile(join(out(), 'calibration.json'), 'utf8'));
    const { classes, pairs, scenes } = written;
    expect(scenes).toEqual([{ name: 'plain', samples: 4, crops: 3 }]);
    expect(pairs).toHaveLength(classes.length ** 2);
    const own = pairs.filter(({ claim, reference }) => claim.deviceClass === reference.deviceClass);
    expect(own).toHaveLength(classes.length);
    // Two sessions of one class give the same floats, and two halves of the samples the whole but for their rounding.
    for (const pair of own) {
      expect(pair).toMatchObject({
        ...{ crops: 3, outcomes: { pass: 3, inconclusive: 0, fail: 0 } },
        pixelMatchFraction: { lowest: 1 },
        current: { name: 'sameClass' },
      });
      expect(pair.noiseRatio?.highest).toBeLessThan(1e-6);
      for (const crop of pair.measured) expect(crop.noiseVariance).toBeGreaterThan(0);
    }
    const lines = done.stdout.trimEnd().split('\n');
    for (const { claim, reference } of pairs)
      expect(lines.join('\n')).toMatch(
        new RegExp(`^${claim.deviceClass} +${reference.deviceClass} +3 `, 'm'),
      );
    const plot = join(out(), 'calibration.png');
    expect(lines.at(-1)).toBe(`wrote ${plot}`);
    expect(await sharp(plot).metadata()).toMatchObject({ format: 'png', width: 1760 });
    expect(await readdir(temp)).toEqual([]);
  });

  it('renders the whole beside the halves where they do not make it', async () => {
    // From 64 samples on Blender stops pixels that have little noise, as the scene's settings say.
    const adaptive = await calibrate('--crops', '1', '--samples', '128', '--json');
    expect(adaptive.code, adaptive.stderr).toBe(0);
    expect(adaptive.stderr).toContain('two halves of its samples are not the whole');
    const { pairs }: Calibration = JSON.parse(adaptive.stdout);
    for (const { claim, reference, measured } of pairs) {
      expect(measured).toMatchObject([{ reference: 'whole' }]);
      if (claim.deviceClass === reference.deviceClass)
        expect(measured).toMatchObject([{ pixelMatchFraction: 1, outcome: 'pass' }]);
    }
  });

  it('refuses what has no halves and engines that are not there', async () => {
    const odd = await calibrate('--samples', '3');
    expect([odd.code, odd.stderr]).toEqual([2, expect.stringContaining('SAMPLES_INVALID')]);
    const engine = await calibrate('--engine', '2.79');
    expect([engine.code, engine.stderr]).toEqual([5, expect.stringContaining('there is no engine 2.79')]);
    expect(await readdir(temp)).toEqual([]);
  });

  it('ends at once on Ctrl-C, leaving neither Blender nor files', async () => {
    const parameters = ['calibrate', scene(), '--out', out(), '--crops', '200', '--samples', '64'];
    const command = startCommand(parameters, { TMPDIR: temp });
    await command.line(/of \d+ crops/);
    command.child.kill('SIGINT');
    const { code, stderr } = await command.ended;
    expect(code).toBe(130);
    expect(stderr).toContain('INTERRUPTED');
    expect(await processesWith(temp)).toEqual([]);
    expect(await readdir(temp)).toEqual([]);
  });
});
