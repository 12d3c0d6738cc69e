import { expect, test } from 'vitest';
import { databaseUrl } from '../../cli/farm/database-url.ts';

test('a database is named by the option, else by TESSERA_DATABASE_URL, else by nobody', () => {
  const environment = { TESSERA_DATABASE_URL: 'postgresql://farm@db/tessera' };
  expect(databaseUrl('postgres://other@db/tessera', environment)).toBe('postgres://other@db/tessera');
  expect(databaseUrl(undefined, environment)).toBe('postgresql://farm@db/tessera');
  expect(databaseUrl(undefined, {})).toBeUndefined();
  expect(databaseUrl(undefined, { TESSERA_DATABASE_URL: '' })).toBeUndefined();
});

test('what is no address of a Postgres server is refused without being repeated', () => {
  for (const text of ['mysql://root:open-sesame@db/tessera', 'open-sesame']) {
    expect(() => databaseUrl(text, {})).toThrow(/--database-url is no address such as postgres:/);
    expect(() => databaseUrl(undefined, { TESSERA_DATABASE_URL: text })).toThrow(/TESSERA_DATABASE_URL/);
    expect(() => databaseUrl(text, {})).not.toThrow(/open-sesame/);
  }
});
