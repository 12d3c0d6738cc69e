import { expect, test } from 'vitest';
import { runtimeChoice } from '../../cli/farm/runtime-choice.ts';
import { verifierNiceness } from '../../cli/farm/verifier-niceness.ts';

test('TESSERA_RUNTIME takes what renders, and never the engine of load tests', () => {
  const chosen = ['', 'auto', 'docker', 'process'].map((name) => runtimeChoice({ TESSERA_RUNTIME: name }));
  expect([runtimeChoice({}), ...chosen]).toEqual(['auto', 'auto', 'auto', 'docker', 'process']);
  for (const name of ['synthetic', 'podman']) {
    expect(() => runtimeChoice({ TESSERA_RUNTIME: name })).toThrow(/it takes docker, process or auto/);
  }
});

test('TESSERA_VERIFIER_NICENESS takes 0 to 19, and nothing means giving way to all else', () => {
  const numbers = ['0', '7', '19'].map((text) => verifierNiceness({ TESSERA_VERIFIER_NICENESS: text }));
  expect(numbers).toEqual([0, 7, 19]);
  expect([verifierNiceness({}), verifierNiceness({ TESSERA_VERIFIER_NICENESS: '' })]).toEqual([
    undefined,
    undefined,
  ]);
  for (const text of ['20', '-1', 'low', '1.5']) {
    expect(() => verifierNiceness({ TESSERA_VERIFIER_NICENESS: text })).toThrow(/a number from 0 to 19/);
  }
});
