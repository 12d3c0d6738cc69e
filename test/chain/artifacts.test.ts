import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ARTIFACTS_FILE, artifactsModule, compileContracts } from '../../contracts/build.ts';

describe('the committed artifacts', () => {
  it('are what the contracts compile to (else run: npx tsx contracts/build.ts)', () => {
    expect(readFileSync(ARTIFACTS_FILE, 'utf8') === artifactsModule(compileContracts())).toBe(true);
  });
});
