/** An error as a person reads it: what happened, what was kept, what to do next. */

import { toJson } from '../platform/json.ts';
import { ERRORS, type FarmError } from '../protocol/errors.ts';
import type { Terminal } from './terminal.ts';

/** Prints the error (as one JSON object with `--json`) and returns the exit code. */
export function printError(error: FarmError, json: boolean, terminal: Terminal): number {
  const { code, message, kept, help, details } = error;
  if (json) terminal.result(toJson({ error: { code, message, kept, help, details } }));
  else {
    terminal.say(`error ${code}: ${message}`);
    if (kept !== undefined) terminal.say(`  kept: ${kept}`);
    terminal.say(`  next: ${help}`);
    if (code === 'INTERNAL' && error.cause instanceof Error) terminal.say(String(error.cause.stack));
  }
  return ERRORS[code].exitCode;
}
