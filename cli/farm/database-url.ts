/** --database-url or TESSERA_DATABASE_URL: the Postgres server of a farm that has one. */
import { FarmError } from '../../protocol/errors.ts';

/** Undefined where nobody named one. Throws USAGE, without what was given: it may hold a password. */
export function databaseUrl(option: string | undefined, environment: NodeJS.ProcessEnv): string | undefined {
  const [text, where] =
    option === undefined
      ? [environment['TESSERA_DATABASE_URL'], 'TESSERA_DATABASE_URL']
      : [option, '--database-url'];
  if (text === undefined || text === '') return undefined;
  if (URL.canParse(text) && /^postgres(ql)?:$/.test(new URL(text).protocol)) return text;
  throw new FarmError('USAGE', `${where} is no address such as postgres://user:password@host:5432/database`, {
    kept: 'nothing was started',
  });
}
