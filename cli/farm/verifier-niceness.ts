/** TESSERA_VERIFIER_NICENESS: how far checks give way to everything else on the farm's machine. */
import { FarmError } from '../../protocol/errors.ts';

/**
 * 0 to 19, or undefined where nobody said: then they give way to all else, and on a machine that is never idle they take
 * long. Throws USAGE for anything that is no such number.
 */
export function verifierNiceness(environment: NodeJS.ProcessEnv): number | undefined {
  const text = environment['TESSERA_VERIFIER_NICENESS'];
  if (text === undefined || text === '') return undefined;
  if (/^(1?\d)$/.test(text)) return Number(text);
  throw new FarmError('USAGE', `TESSERA_VERIFIER_NICENESS is ${text}; it takes a number from 0 to 19`, {
    kept: 'nothing was started',
  });
}
