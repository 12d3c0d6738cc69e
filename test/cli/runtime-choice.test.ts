import { expect, test } from 'vitest';
import { runtimeChoice } from '../../cli/farm/runtime-choice.ts';

test('TESSERA_RUNTIME takes what renders, and never the engine of load tests', () => {
  const chosen = ['', 'auto', 'docker', 'process'].map((name) => runtimeChoice({ TESSERA_RUNTIME: name }));
  expect([runtimeChoice({}), ...chosen]).toEqual(['auto', 'auto', 'auto', 'docker', 'process']);
  for (const name of ['synthetic', 'podman']) {
    expect(() => runtimeChoice({ TESSERA_RUNTIME: name })).toThrow(/it takes docker, process or auto/);
  }
});
