/** Structured logs, one JSON object a line on stdout; whoever starts a program decides where that goes. */
import { type Logger, pino } from 'pino';
import { LogDestination, sayIfPossible } from './log-destination.ts';

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

const STDOUT_FD = 1;
const STDERR_FD = 2;

/**
 * A logger for one program. `level` is a pino level; `silent` for tests. Lines that cannot be written, on a full disk
 * for one, are lost; stderr says once how many, when one can be written again.
 */
export function createLog(program: string, level = 'info'): Log {
  const base = { program };
  const sayLost = (linesLost: number): void => {
    const msg = `${linesLost} log line(s) before this one could not be written and are lost`;
    const line = { level: pino.levels.values['warn'], time: Date.now(), ...base, linesLost, msg };
    sayIfPossible(STDERR_FD, `${JSON.stringify(line)}\n`);
  };
  const options = {
    level,
    base,
    redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
    serializers: { err: printable },
  };
  return pino(options, new LogDestination(STDOUT_FD, sayLost));
}

/** As pino prints errors, without the values of a statement that failed: rows may hold what no log may. */
function printable(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { params: _params, ...rest } = pino.stdSerializers.err(error);
  return rest;
}
