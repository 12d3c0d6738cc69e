import { describe, expect, it } from 'vitest';
import { printError } from '../../cli/print-error.ts';
import { ProgressLine, progressText } from '../../cli/progress-line.ts';
import type { Terminal } from '../../cli/terminal.ts';
import { ERRORS, type ErrorCode, FarmError } from '../../protocol/errors.ts';
import { type JobView, jobViewSchema } from '../../protocol/job.ts';

function fakeTerminal(): Terminal & { said: string[]; results: string[] } {
  const said: string[] = [];
  const results: string[] = [];
  return {
    said,
    results,
    err: { write: (text) => said.push(text) },
    say: (text) => void said.push(text),
    result: (text) => void results.push(text),
    askSecret: async () => null,
    environment: {},
    now: () => 0,
    signal: new AbortController().signal,
  };
}

describe('an error', () => {
  const error = new FarmError('BUDGET_TOO_LOW', 'this job costs 5 units', {
    kept: 'no money moved',
    details: { quote: 5n },
  });

  it('tells a person what happened, what was kept and what to do, on stderr only', () => {
    const terminal = fakeTerminal();
    expect(printError(error, false, terminal)).toBe(6);
    expect(terminal.said).toEqual([
      'error BUDGET_TOO_LOW: this job costs 5 units',
      '  kept: no money moved',
      `  next: ${ERRORS.BUDGET_TOO_LOW.help}`,
    ]);
    expect(terminal.results).toEqual([]);
  });

  it('tells a script the same as one JSON object on stdout', () => {
    const terminal = fakeTerminal();
    expect(printError(error, true, terminal)).toBe(6);
    expect(terminal.said).toEqual([]);
    expect(terminal.results.map((line) => JSON.parse(line) as unknown)).toEqual([
      {
        error: {
          code: 'BUDGET_TOO_LOW',
          message: 'this job costs 5 units',
          kept: 'no money moved',
          help: ERRORS.BUDGET_TOO_LOW.help,
          details: { quote: '5' },
        },
      },
    ]);
  });

  it('says nothing about what was kept where there is nothing to say', () => {
    const terminal = fakeTerminal();
    printError(new FarmError('SCENE_NO_CAMERA', 'no camera'), false, terminal);
    expect(terminal.said).toHaveLength(2);
  });

  it('shows where it came from when it is our own mistake', () => {
    const terminal = fakeTerminal();
    const cause = new TypeError('x is undefined');
    expect(printError(new FarmError('INTERNAL', cause.message, { cause }), false, terminal)).toBe(70);
    expect(terminal.said.join('\n')).toContain('TypeError: x is undefined');
  });

  it.each(Object.keys(ERRORS) as ErrorCode[])('%s ends with the exit code of the table', (code) => {
    expect(printError(new FarmError(code, 'x'), false, fakeTerminal())).toBe(ERRORS[code].exitCode);
  });
});

describe('the progress line', () => {
  function line(isTTY: boolean, columns?: number) {
    const written: string[] = [];
    let now = 0;
    const progress = new ProgressLine({ write: (text) => written.push(text), isTTY, columns }, () => now);
    const at = (ms: number): void => {
      now = ms;
    };
    return { progress, written, at };
  }

  it('is rewritten in place on a terminal, and only when it changes', () => {
    const { progress, written } = line(true, 80);
    for (const text of ['one', 'one', 'two']) progress.show(text);
    expect(written).toEqual(['\r\u001b[2Kone', '\r\u001b[2Ktwo']);
  });

  it('never wraps on a narrow terminal', () => {
    const { progress, written } = line(true, 30);
    progress.show('x'.repeat(100));
    expect(written).toEqual([`\r\u001b[2K${'x'.repeat(29)}`]);
  });

  it('is taken away on a terminal, once', () => {
    const { progress, written } = line(true);
    progress.clear();
    progress.show('one');
    progress.clear();
    progress.clear();
    expect(written).toEqual(['\r\u001b[2Kone', '\r\u001b[2K']);
  });

  it('is a new line every five seconds at most elsewhere, without control characters', () => {
    const { progress, written, at } = line(false);
    for (const [ms, text] of [
      [0, 'one'],
      [4_999, 'two'],
      [5_000, 'three'],
      [9_000, 'four'],
      [10_000, 'five'],
    ] as const) {
      at(ms);
      progress.show(text);
    }
    progress.clear();
    expect(written).toEqual(['one\n', 'three\n', 'five\n']);
  });
});

describe('what the progress line says', () => {
  const rect = { x: 0, y: 0, width: 64, height: 64 };
  const job = (changes: Partial<Record<keyof JobView, unknown>> = {}): JobView =>
    jobViewSchema.parse({
      id: 'job_a',
      name: 'scene.blend',
      state: 'active',
      reason: null,
      spec: {
        scene: 'ab'.repeat(32),
        name: 'scene.blend',
        frames: [1, 2],
        tiles: { columns: 2, rows: 2 },
        samples: 16,
        engine: 'blender-3.4.1',
        output: { format: 'png' },
        precision: 'float',
        region: rect,
        picture: rect,
        fullFrame: { width: 64, height: 64 },
      },
      warnings: [],
      tasks: { total: 10, queued: 2, leased: 2, delivered: 2, verified: 4 },
      framesDone: 1,
      account: 'default',
      priority: 50,
      blocks: [],
      progress: 0.5,
      escrow: 'open',
      quote: '2100000',
      spent: '1204000',
      refunded: '0',
      createdAtMs: 0,
      finishedAtMs: null,
      ...changes,
    });

  it('is frames, tiles, share, time left and money', () => {
    expect(progressText(job(), 61_000)).toBe(
      'frames 1/2  tiles 5/8  50 %  ETA 1:01  spent 1.204 of 2.100 TESS',
    );
  });

  it('makes no guess at the time before there is anything to go by', () => {
    expect(progressText(job({ progress: 0.01 }), 60_000)).not.toContain('ETA');
  });

  it('says that the escrow is being funded before the work begins', () => {
    expect(progressText(job({ state: 'opening', progress: 0 }), 0)).toContain('funding the escrow');
  });

  it('says that only checking and paying is left, until that is done, too', () => {
    expect(progressText(job({ progress: 1 }), 0)).toContain('checking and settling');
    expect(progressText(job({ progress: 1, escrow: 'closed' }), 0)).not.toContain('settling');
  });

  it('counts neither below zero nor beyond the tiles there are', () => {
    const tasks = { total: 10, queued: 0, leased: 0, delivered: 0, verified: 10 };
    expect(progressText(job({ tasks, framesDone: 0 }), 0)).toContain('tiles 8/8');
    expect(progressText(job({ tasks: { ...tasks, verified: 0 }, framesDone: 2 }), 0)).toContain('tiles 0/8');
  });
});
