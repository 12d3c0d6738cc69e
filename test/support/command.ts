/** The `tessera` command as a user runs it: its own process, its exit code, what it prints. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../../platform/package-root.ts';

export type CommandResult = { code: number | null; stdout: string; stderr: string };

const MAIN = join(packageRoot(), 'dist/cli/main.js');

/** Starts the command. `line` resolves when stderr has a line that fits; `ended` with everything at the end. */
export function startCommand(
  parameters: string[],
  environment: NodeJS.ProcessEnv = {},
): { child: ChildProcess; ended: Promise<CommandResult>; line: (pattern: RegExp) => Promise<string> } {
  const child = spawn(process.execPath, [MAIN, ...parameters], {
    // One engine, whatever images this machine has; and beside other tests there is no idle moment to wait for.
    env: {
      ...process.env,
      TESSERA_RUNTIME: 'process',
      TESSERA_VERIFIER_NICENESS: '0',
      ...environment,
    },
  });
  let stdout = '';
  let stderr = '';
  const waiting = new Set<() => void>();
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
    for (const look of waiting) look();
  });
  const ended = new Promise<CommandResult>((resolve) => {
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
  return {
    child,
    ended,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = stderr.split('\n').find((one) => pattern.test(one));
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
        void ended.then(() =>
          reject(new Error(`the command ended without a line like ${pattern}:\n${stderr}`)),
        );
      }),
  };
}

export function runCommand(
  parameters: string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<CommandResult> {
  return startCommand(parameters, environment).ended;
}

/** Command lines of all processes that mention `text`. */
export async function processesWith(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(text)) found.push(`${pid} ${line.replaceAll('\0', ' ')}`);
  }
  return found;
}
