import { describe, expect, it } from 'vitest';
import { parseOutput } from '../../cli/render/parse-output.ts';

describe('--format, --quality and --precision', () => {
  it.each([
    [{}, {}],
    [{ format: 'png' }, { output: { format: 'png' } }],
    [{ format: 'png16' }, { output: { format: 'png', depth: 16 } }],
    [{ format: 'jpg', quality: '80' }, { output: { format: 'jpeg', quality: 80 } }],
    [{ format: 'exr-multilayer' }, { output: { format: 'exr-multilayer' } }],
    [{ quality: '80' }, { output: { format: 'scene', quality: 80 } }],
    [{ precision: 'half' }, { precision: 'half' }],
  ])('%o', (options, expected) => {
    expect(parseOutput(options)).toEqual(expected);
  });

  it.each([
    { format: 'gif' },
    { format: 'png12' },
    { format: 'PNG' },
    { quality: '0' },
    { quality: '101' },
    { quality: '5.5' },
    { precision: 'double' },
  ])('%o is refused before anything is submitted', (options) => {
    expect(() => parseOutput(options)).toThrow(
      expect.objectContaining({ code: 'OUTPUT_INVALID', kept: 'nothing was submitted' }),
    );
  });
});
