/** Structured logs, one JSON object a line on stdout; whoever starts a program decides where that goes. */
import { type Logger, pino } from 'pino';

export type Log = Logger;

/** Fields that must never be printed, wherever they appear one level deep. */
const SECRET_FIELDS = [
  'privateKey',
  'password',
  'apiKey',
  'token',
  'secret',
  'preimage',
  'authorization',
  'seed',
  'jwt',
  'blobToken',
  'natsAccountSeed',
];

/** A logger for one program. `level` is a pino level; `silent` for tests. */
export function createLog(program: string, level = 'info'): Log {
  return pino({
    level,
    base: { program },
    redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
    serializers: { err: printable },
  });
}

/** As pino prints errors, without the values of a statement that failed: rows may hold what no log may. */
function printable(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { params: _params, ...rest } = pino.stdSerializers.err(error);
  return rest;
}
