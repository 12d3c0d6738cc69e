import { describe, expect, it } from 'vitest';
import {
  missingFiles,
  requireRenderable,
  summaryOf,
  warningsFor,
} from '../../coordinator/submission/judge-inspection.ts';
import type { SceneFile } from '../../platform/render/runtime.ts';
import { type ErrorCode, FarmError } from '../../protocol/errors.ts';
import { sceneSummarySchema } from '../../protocol/http.ts';
import { inspection } from '../support/coordinator-context.ts';

function refusal(changes: Parameters<typeof inspection>[0]): FarmError {
  try {
    requireRenderable(inspection(changes));
  } catch (error) {
    if (error instanceof FarmError) return error;
  }
  throw new Error('nothing was refused');
}

const missing = (changes: Partial<SceneFile>): SceneFile => ({
  path: 'textures/wood.png',
  kind: 'image',
  exists: false,
  outsideRoot: false,
  ...changes,
});

describe('judging an inspected scene', () => {
  it('lets a Cycles scene with a camera through', () => {
    expect(() => requireRenderable(inspection())).not.toThrow();
  });

  it.each<[string, Parameters<typeof inspection>[0], ErrorCode, string]>([
    ['EEVEE', { renderEngine: 'BLENDER_EEVEE' }, 'ENGINE_NOT_HEADLESS', 'EEVEE'],
    ['EEVEE Next', { renderEngine: 'BLENDER_EEVEE_NEXT' }, 'ENGINE_NOT_HEADLESS', 'EEVEE'],
    ['Workbench', { renderEngine: 'BLENDER_WORKBENCH' }, 'ENGINE_NOT_HEADLESS', 'Workbench'],
    ['an add-on engine', { renderEngine: 'LUXCORE' }, 'ENGINE_NOT_HEADLESS', 'LUXCORE'],
    ['no camera', { hasCamera: false }, 'SCENE_NO_CAMERA', 'camera'],
    ['something unsupported', { unsupported: ['It uses stereo.'] }, 'SCENE_UNSUPPORTED', 'It uses stereo.'],
  ])('refuses a scene with %s and says why', (_what, changes, code, words) => {
    const error = refusal(changes);
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
    expect(error.kept).toBe('nothing was submitted, no money moved');
  });

  it('names everything that is unsupported at once', () => {
    expect(refusal({ unsupported: ['It uses stereo.', 'It uses Freestyle.'] }).message).toBe(
      'It uses stereo.; It uses Freestyle.',
    );
  });
});

describe('missing files', () => {
  it.each(['library', 'image', 'sequence', 'udim', 'movie', 'font', 'volume', 'cache', 'other'] as const)(
    'asks the client for a missing %s',
    (kind) => {
      expect(missingFiles(inspection({ missingFiles: [missing({ kind })] }))).toEqual([
        { stored: 'textures/wood.png', path: 'textures/wood.png' },
      ]);
    },
  );

  it('gives no path for a file outside the root, since it can never be sent', () => {
    const outside = missing({ path: '/etc/passwd', outsideRoot: true });
    expect(missingFiles(inspection({ missingFiles: [outside] }))).toEqual([
      { stored: '/etc/passwd', path: null },
    ]);
  });

  it('does not ask for missing sounds, which change no pixel', () => {
    expect(
      missingFiles(inspection({ missingFiles: [missing({ kind: 'sound', path: 'voice.wav' })] })),
    ).toEqual([]);
  });
});

describe('what the artist is told', () => {
  it('says nothing about a scene that renders as it is', () => {
    expect(warningsFor(inspection())).toEqual([]);
  });

  it('warns that another output format is delivered, naming the one that is set', () => {
    const outputFormat = { fileFormat: 'FFMPEG', colorMode: 'RGB', colorDepth: '8' };
    expect(warningsFor(inspection({ outputFormat }))).toEqual([expect.stringContaining('FFMPEG')]);
  });

  it.each([
    [1, 'No frame after 1 can be rendered until this is baked: cloth of "Flag".'],
    [0, 'No frame can be rendered until this is baked: cloth of "Flag".'],
  ])('says which frames cannot be had of a simulation that is not baked', (firstFrame, sentence) => {
    const unbaked = [{ object: 'Flag', kind: 'cloth', firstFrame }];
    expect(warningsFor(inspection({ unbaked }))).toEqual([sentence]);
  });

  it('passes on what the renderer itself found worth knowing', () => {
    const sentence = 'The script autorun.py would run when the file is opened; it is never run.';
    expect(warningsFor(inspection({ warnings: [sentence] }))).toContain(sentence);
  });

  it('is a summary of the form that travels', () => {
    const summary = summaryOf(inspection({ warnings: ['It stays noisy.'] }));
    expect(sceneSummarySchema.parse(summary)).toEqual({
      frameStart: 1,
      frameEnd: 24,
      frameStep: 1,
      fullFrame: { width: 1920, height: 1080 },
      samples: 64,
      engine: 'CYCLES',
      warnings: ['It stays noisy.'],
    });
  });
});
