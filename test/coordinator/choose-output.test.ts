import { describe, expect, it } from 'vitest';
import { chooseOutput } from '../../coordinator/submission/choose-output.ts';
import { planJob } from '../../coordinator/submission/plan-job.ts';
import type { OutputSettings } from '../../protocol/output.ts';
import { DEVICE_CLASS, ENGINE, inspection, SCENE } from '../support/coordinator-context.ts';

const saved = (fileFormat: string) =>
  inspection({ outputFormat: { fileFormat, colorMode: 'RGB', colorDepth: '8' } });

describe('the format of a job', () => {
  it.each([
    ['PNG', 'png'],
    ['JPEG', 'jpeg'],
    ['OPEN_EXR_MULTILAYER', 'exr-multilayer'],
    ['FFMPEG', 'png'],
    ['CINEON', 'png'],
  ])('of a scene saved as %s is %s', (fileFormat, format) => {
    expect(chooseOutput(undefined, saved(fileFormat))).toEqual({ format });
    expect(chooseOutput({ format: 'scene' }, saved(fileFormat))).toEqual({ format });
  });

  it('is the one that was asked for, with what was said about it', () => {
    const asked: OutputSettings = { format: 'jpeg', quality: 70, colorMode: 'BW' };
    expect(chooseOutput(asked, saved('PNG'))).toEqual(asked);
  });

  it.each<[OutputSettings, string]>([
    [{ format: 'jpeg', depth: 16 }, 'there is 8'],
    [{ format: 'jpeg', colorMode: 'RGBA' }, 'BW, RGB'],
    [{ format: 'png', quality: 70 }, 'no quality'],
    [{ format: 'scene', quality: 70 }, 'no quality'],
    [{ format: 'exr', depth: 8 }, '16, 32'],
    [{ format: 'exr', codec: 'LZW' }, 'DWAA'],
    [{ format: 'webp', codec: 'ZIP' }, 'nothing to choose'],
    [{ format: 'exr-multilayer', colorMode: 'RGB' }, 'nothing to choose'],
  ])('refuses %o and says what there is', (asked, words) => {
    expect(() => chooseOutput(asked, saved('PNG'))).toThrow(
      expect.objectContaining({ code: 'OUTPUT_INVALID', message: expect.stringContaining(words) }),
    );
  });

  it('has to be one that the Blender of the farm writes', () => {
    const scene = inspection({ writableFormats: ['png', 'exr'] });
    expect(() => chooseOutput({ format: 'webp' }, scene)).toThrow('png, exr');
  });
});

describe('a scene whose frames cannot be cut', () => {
  const engine = { id: ENGINE, version: '3.4.1', deviceClass: DEVICE_CLASS };
  const scene = inspection({ untileable: ['The reason.'], samples: 4096 });
  const plan = (tiles?: 'auto' | { columns: number; rows: number }) =>
    planJob({ scene: SCENE, name: 'a.blend', tiles }, scene, engine);

  it('is rendered as whole frames where nothing else was asked for', () => {
    expect(plan().spec.tiles).toEqual({ columns: 1, rows: 1 });
    expect(plan('auto').spec.tiles).toEqual({ columns: 1, rows: 1 });
    expect(plan({ columns: 1, rows: 1 }).spec.tiles).toEqual({ columns: 1, rows: 1 });
    const other = planJob({ scene: SCENE, name: 'a.blend' }, inspection({ samples: 4096 }), engine);
    expect(other.grid.tilesPerFrame).toBeGreaterThan(1);
  });

  it('is refused with the reason where tiles were asked for', () => {
    expect(() => plan({ columns: 2, rows: 1 })).toThrow(
      expect.objectContaining({ code: 'TILES_INVALID', message: expect.stringContaining('The reason.') }),
    );
  });
});
