/** The NVIDIA cards of this machine: their device files, and what the driver's own program says of them. */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../process/programs.ts';
import { CARD_FIELDS, type Card, readCards } from './cards.ts';

const run = promisify(execFile);

/** The driver's answer takes a second where it has to wake the cards; one that is stuck gives none. */
const ANSWER_TIMEOUT_MS = 30_000;

/** What a program needs to compute on a card; the rest of /dev/nvidia* manages or displays. */
const DEVICE_FILE = /^nvidia(\d+|ctl|-uvm|-uvm-tools)$/;

/** The device files that a sandbox has to be given, none where this machine has no NVIDIA driver. */
export async function nvidiaDeviceFiles(folder = '/dev'): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const files = names.filter((name) => DEVICE_FILE.test(name));
  // The driver's control file alone says that no card is there.
  return files.some((name) => /\d$/.test(name)) ? files.sort().map((name) => join(folder, name)) : [];
}

/** The cards; none where the program is missing, fails, or does not know a field (drivers before 510). */
export async function nvidiaCards(signal: AbortSignal, programFolders?: readonly string[]): Promise<Card[]> {
  const program = await findProgram('nvidia-smi', programFolders);
  if (program === undefined) return [];
  return await run(program, [`--query-gpu=${CARD_FIELDS}`, '--format=csv,noheader'], {
    signal,
    timeout: ANSWER_TIMEOUT_MS,
    env: {},
  }).then(
    ({ stdout }) => readCards(stdout),
    () => [],
  );
}
