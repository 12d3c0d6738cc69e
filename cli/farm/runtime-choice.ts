/** TESSERA_RUNTIME: which of the machine's engines a farm uses. */
import { type RuntimeChoice, runtimeChoiceSchema } from '../../platform/render/engines.ts';
import { FarmError } from '../../protocol/errors.ts';

/** A farm of people renders: the engine of load tests is for tests to ask for. */
const forPeopleSchema = runtimeChoiceSchema.exclude(['synthetic']);

export function runtimeChoice(environment: NodeJS.ProcessEnv): RuntimeChoice {
  const text = environment['TESSERA_RUNTIME'];
  const choice = forPeopleSchema.safeParse(text === undefined || text === '' ? 'auto' : text);
  if (choice.success) return choice.data;
  throw new FarmError('USAGE', `TESSERA_RUNTIME is ${text}; it takes docker, process or auto`, {
    kept: 'nothing was started',
  });
}
