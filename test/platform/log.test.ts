import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 30_000 });

const lineSchema = z.object({
  msg: z.string(),
  index: z.number().optional(),
  linesLost: z.number().optional(),
});

describe('a program whose log is on a full disk', () => {
  it('works on, says once how many lines were lost, and still ends by process.exit', async () => {
    await using folder = await tempFolder();
    const disk = join(folder.path, 'disk');
    const copy = join(folder.path, 'copy');
    await mkdir(disk);
    const script = join(folder.path, 'run.sh');
    await writeFile(
      script,
      '#!/bin/sh\nset -e\nmount -t tmpfs -o size=64k tmpfs "$1"\nlog="$1/log"\nshift\nexec "$@" >"$log"\n',
    );
    await chmod(script, 0o700);
    const child = fileURLToPath(new URL('./log-to-full-disk.ts', import.meta.url));
    const node = [process.execPath, '--import', import.meta.resolve('tsx'), child, disk, copy];
    const ended = await new Promise<{ code: unknown; stderr: string }>((resolve) =>
      execFile('unshare', ['-rm', script, disk, ...node], { timeout: 20_000 }, (error, _stdout, stderr) =>
        resolve({ code: error?.code, stderr }),
      ),
    );
    const told = ended.stderr.split('\n').filter((line) => line.startsWith('{'));
    expect(ended.code, ended.stderr).toBe(7);
    // Of the second time nothing is said: no line could be written after it.
    expect(told).toHaveLength(1);

    const text = await readFile(copy, 'utf8');
    expect(text.endsWith('\n')).toBe(true);
    const parsed = text.trim().split('\n').map(parse);
    const whole = parsed.flatMap((line) => (line === null ? [] : [line]));
    expect(whole.at(0)?.msg).toBe('there is room');
    expect(whole.slice(-2).map(({ msg }) => msg)).toEqual(['room again', 'and still']);
    const written = whole.filter(({ msg }) => msg === 'no room').length;
    expect(written).toBeLessThan(200);
    expect(lineSchema.parse(JSON.parse(told[0] ?? '')).linesLost).toBe(200 - written);
    // At most the one line that the disk had no room for the rest of.
    expect(parsed.length - whole.length).toBeLessThanOrEqual(1);
  });
});

function parse(line: string): z.infer<typeof lineSchema> | null {
  try {
    return lineSchema.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
