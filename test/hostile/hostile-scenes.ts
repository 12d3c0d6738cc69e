/** The hostile scenes against one runtime. Call it with a way to make the runtime. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { homedir, networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import { SessionPool } from '../../platform/render/session-pool.ts';
import { ERRORS, type FarmError, isFarmError, toFarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import { classifyFailure } from '../../worker/classify-failure.ts';
import { temporaryFolder } from '../render/support.ts';
import {
  ESCAPE,
  FUZZ,
  FUZZED_FILES,
  type HostileCase,
  LIMITED,
  type Sandbox,
  SCENES,
  stoppedIn,
  WITH_SCRIPTS,
} from './cases.ts';
import { mutated } from './mutate.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const PYTHON = join(HERE, '..', '..', 'blender-images', 'session');
const TIMEOUT_MS = 300_000;
const LOAD_TIMEOUT_MS = 60_000;
/** For what never ends. Blender starts in a second or, on a busy machine, in several: then it is tried again. */
const SHORT_LOAD_TIMEOUTS_MS = [8_000, 20_000, LOAD_TIMEOUT_MS];
const RENDER_TIMEOUT_MS = 120_000;
/** Most of the time of opening a small scene is waiting. */
const FUZZED_AT_A_TIME = 3;
const RECT = { x: 0, y: 0, width: 64, height: 36 };

export type HostileRuntimeOptions = {
  signal: AbortSignal;
  tempFolder: string;
  /** In place of the package's own Python. */
  pythonFolder?: string;
  memoryLimitBytes: number;
  sessionLimits: { outputBytes: number; outputFiles: number };
};

type Report = Record<
  'connect' | 'read' | 'list' | 'write' | 'kernel' | 'act',
  Record<string, [string, string]>
> & {
  processes: string[];
  environment: string[];
};

/** The tests of one runtime. */
export function hostileScenes(
  name: Sandbox,
  makeRuntime: (options: HostileRuntimeOptions) => Promise<RenderRuntime>,
): void {
  describe(`${name}: hostile scenes`, { timeout: TIMEOUT_MS }, () => {
    const { signal } = new AbortController();
    const pool = new SessionPool();
    const lines: string[] = [];
    const connections: string[] = [];
    const servers: Server[] = [];
    let folder: Awaited<ReturnType<typeof temporaryFolder>>;
    let runtime: RenderRuntime;
    let scripted: RenderRuntime;
    let goodDigest: string;
    let counter = 0;
    const exchange = () => join(folder.path, 'exchange');
    const outside = () => join(folder.path, 'outside');
    const fresh = (extension: string) => join(folder.path, `${++counter}${extension}`);
    const open = (scene: string, on = runtime, loadTimeoutMs = LOAD_TIMEOUT_MS) =>
      on.open(
        { root: join(folder.path, 'scenes', scene), main: `${scene}.blend` },
        { signal, threads: 2, loadTimeoutMs },
      );
    const render = (session: RenderSession, rect = RECT) =>
      session.render({ frame: 1, rect, output: fresh('.exr') }, { signal, timeoutMs: RENDER_TIMEOUT_MS });

    /** The node goes on: its warm session of a good scene renders what it always rendered. */
    async function goodRender(): Promise<string> {
      const key = { engine: runtime.engine.id, scene: 'a'.repeat(64) as Digest, device: 'cpu' };
      const tile = await pool.use(
        key,
        () => open('good'),
        signal,
        (session) => render(session),
      );
      return tile.pixelDigest;
    }

    async function settle(row: HostileCase, seen: string): Promise<void> {
      expect(await goodRender()).toBe(goodDigest);
      lines.push(`${row.tried} | ${stoppedIn(name, row)} | ${seen}`);
    }

    async function failureOf(work: Promise<unknown>): Promise<FarmError> {
      const outcome = await work.then(
        () => undefined,
        (error: unknown) => toFarmError(error),
      );
      expect(outcome, 'it should have failed').toBeDefined();
      return outcome ?? toFarmError('it did not fail');
    }

    async function failureOfOpening(row: HostileCase, on = runtime): Promise<FarmError> {
      if (row.fault?.code !== 'SCENE_LOAD_TIMEOUT') return await failureOf(open(row.scene, on));
      let error = toFarmError('never tried');
      for (const timeoutMs of SHORT_LOAD_TIMEOUTS_MS) {
        error = await failureOf(open(row.scene, on, timeoutMs));
        // The other one says that Blender itself was not there yet.
        if (error.code !== 'RENDER_TIMEOUT') break;
      }
      return error;
    }

    /** Contained, the scene's fault, and the artist can read why. */
    async function expectFault(row: HostileCase, error: FarmError): Promise<void> {
      expect([row.fault?.code, row.fault?.or]).toContain(error.code);
      expect(error.message).toMatch(row.fault?.words ?? /./);
      expect(classifyFailure(error)).toBe('task');
      expect(error.help.length).toBeGreaterThan(20);
      await settle(row, `${error.code}: ${error.message}`);
    }

    async function filesOutside(): Promise<string[]> {
      return (await readdir(outside())).filter((entry) => !KNOWN_OUTSIDE.includes(entry));
    }

    async function listen(at: { port: number } | { path: string }): Promise<Server> {
      const server = createServer((socket) => {
        connections.push(JSON.stringify(at));
        socket.destroy();
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(at, resolve));
      return server;
    }

    beforeAll(async () => {
      folder = await temporaryFolder();
      await Promise.all([mkdir(exchange()), mkdir(outside())]);
      const address = (await listen({ port: 0 })).address();
      const abstract = `tessera-hostile-${process.pid}`;
      await listen({ path: `\0${abstract}` });
      await listen({ path: join(outside(), 'socket') });
      await writeFile(join(outside(), 'secret'), 'the secret of the host');
      const facts = {
        outside: outside(),
        port: typeof address === 'object' ? address?.port : 0,
        address: Object.values(networkInterfaces())
          .flat()
          .find((one) => one?.family === 'IPv4' && !one.internal)?.address,
        abstract,
        socket: join(outside(), 'socket'),
        secret: join(outside(), 'secret'),
        home: homedir(),
        pid: process.pid,
      };
      await promisify(execFile)('blender', [
        ...[
          '-b',
          '--factory-startup',
          '--disable-autoexec',
          '-noaudio',
          '--python-exit-code',
          '1',
          '--python',
        ],
        ...[join(HERE, 'make-scenes.py'), '--', folder.path, outside(), JSON.stringify(facts)],
      ]);
      const options = {
        signal,
        tempFolder: exchange(),
        memoryLimitBytes: 1024 ** 3,
        sessionLimits: { outputBytes: 24 * 1024 ** 2, outputFiles: 2_000 },
      };
      runtime = await makeRuntime(options);
      const pythonFolder = join(folder.path, 'scripts-on', 'session');
      await cp(PYTHON, pythonFolder, { recursive: true });
      const loading = await readFile(join(pythonFolder, 'loading.py'), 'utf8');
      expect(loading).toContain('use_scripts=False');
      await writeFile(
        join(pythonFolder, 'loading.py'),
        loading.replace('use_scripts=False', 'use_scripts=True'),
      );
      scripted = await makeRuntime({ ...options, pythonFolder });
      goodDigest = await goodRender();
    }, TIMEOUT_MS);

    afterAll(async () => {
      await pool.close();
      for (const server of servers) server.close();
      console.log([`${name}: what it tried | what stopped it | what was seen`, ...lines].join('\n'));
      await folder[Symbol.asyncDispose]();
    });

    it.each([SCENES.drivers, SCENES.text])('scripts off: $tried', async (row) => {
      await using session = await open(row.scene);
      const { warnings } = await session.inspect({ signal });
      expect(warnings.join(' ')).toMatch(/never run/);
      await render(session);
      const entries = await readdir(exchange(), { recursive: true });
      expect(entries.filter((entry) => /driver-was-here|report\.json/.test(entry))).toEqual([]);
      expect(await filesOutside()).toEqual([]);
      expect(connections).toEqual([]);
      await settle(row, `rendered; ${warnings.join(' ')}`);
    });

    it(SCENES.writes.tried, async () => {
      await using session = await open('writes');
      const { region, picture } = await session.inspect({ signal });
      const tile = await render(session);
      const outputs = { exrOutput: fresh('.exr'), pictureOutput: fresh('.png') };
      const tiles = [{ rect: RECT, path: tile.exrPath }];
      await session.finish({ frame: 1, region, picture, tiles, ...outputs }, { signal });
      expect(await filesOutside()).toEqual([]);
      const scene = await readdir(join(folder.path, 'scenes', 'writes'));
      expect(scene.filter((entry) => !entry.startsWith('writes.blend'))).toEqual([]);
      expect((await readdir('/usr')).filter((entry) => entry.startsWith('written-'))).toEqual([]);
      await settle(SCENES.writes, 'rendered and finished; nothing was written outside');
    });

    it(SCENES.climbing.tried, async () => {
      await using session = await open('climbing');
      const { missingFiles } = await session.inspect({ signal });
      const libraries = missingFiles.filter((file) => file.kind === 'library');
      const paths = libraries.map((file) => file.path);
      expect(paths).toContain(join(outside(), 'copy.blend'));
      expect(paths).toContainEqual(expect.stringMatching(/^\/\/(\.\.\/)+outside\/library\.blend$/));
      for (const library of libraries) expect(library).toMatchObject({ exists: false, outsideRoot: true });
      await render(session);
      await settle(SCENES.climbing, `missing, outside: ${paths.join(', ')}`);
    });

    it(SCENES.symlink.tried, async () => {
      await using session = await open('symlink');
      const { files } = await session.inspect({ signal });
      expect(files.find((file) => file.path === 'textures/secret.png')).toMatchObject({ exists: false });
      await render(session);
      await settle(SCENES.symlink, 'missing: textures/secret.png');
    });

    it.each(LIMITED)('$scene: $tried', async (row) => {
      if (row.during === 'open') {
        await expectFault(row, await failureOfOpening(row));
        return;
      }
      await using session = await open(row.scene);
      const rect = row.scene === 'output-bomb' ? { x: 0, y: 0, width: 2000, height: 1500 } : RECT;
      await expectFault(row, await failureOf(render(session, rect)));
    });

    it(ESCAPE.tried, async () => {
      await using session = await open(ESCAPE.scene, scripted);
      const entries = await readdir(exchange(), { recursive: true });
      const path = entries.find((entry) => entry.endsWith('report.json'));
      expect(path, 'the script ran').toBeDefined();
      const report = JSON.parse(await readFile(join(exchange(), path ?? ''), 'utf8')) as Report;
      // The first process of the sandbox's own namespace; that it says nothing of the host is what counts.
      const { '/proc/1/environ': own, ...read } = report.read;
      const ownFiles = ESCAPE.ownFiles[name];
      for (const path of ownFiles) {
        const { dev, ino } = await stat(path);
        const [, found = ''] = read[path] ?? report.list[path] ?? [];
        const identity = /^["'](\d+:\d+) /.exec(found)?.[1];
        expect(identity, 'it is there').toBeDefined();
        expect(identity, 'it is not the one of the host').not.toBe(`${dev}:${ino}`);
      }
      for (const attempts of [report.connect, read, report.list, report.write, report.kernel, report.act]) {
        const worked = Object.entries(attempts).filter(([, [outcome]]) => outcome !== 'failed');
        expect(worked.map(([what]) => what).filter((what) => !ownFiles.includes(what))).toEqual([]);
        expect(Object.keys(attempts).length).toBeGreaterThan(2);
      }
      expect(own?.[1] ?? '').not.toMatch(/HOME=|TESSERA|NODE/);
      expect(report.environment).not.toContain('TESSERA_API_KEY');
      expect(report.processes.length).toBeLessThan(6);
      expect(connections).toEqual([]);
      expect(await filesOutside()).toEqual([]);
      // It left symlinks to the host's secret where the first outputs go.
      const error = await failureOf(render(session));
      expect(error.code).toBe('RENDER_FAILED');
      expect(await readFile(join(outside(), 'secret'), 'utf8')).toBe('the secret of the host');
      await settle(ESCAPE, 'every attempt failed');
    });

    it.each(WITH_SCRIPTS)('$tried', async (row) => {
      await expectFault(row, await failureOfOpening(row, scripted));
      // All of it is gone: nothing holds the exchange folder any more but the warm session's.
      expect(await readdir(exchange())).toHaveLength(1);
    });

    it(FUZZ.tried, { timeout: 3_600_000 }, async () => {
      const source = await readFile(join(folder.path, 'scenes', 'good', 'good.blend'));
      const outcomes = new Map<string, number>();
      const fuzz = async (seed: number): Promise<void> => {
        const root = join(folder.path, `fuzz-${seed}`);
        await mkdir(root);
        await writeFile(join(root, 'fuzz.blend'), mutated(source, seed));
        const outcome = await (async () => {
          const options = { signal, threads: 2, loadTimeoutMs: LOAD_TIMEOUT_MS };
          await using session = await runtime.open({ root, main: 'fuzz.blend' }, options);
          // Few samples, whatever the file says by now: it is about what the file breaks.
          const command = { frame: 1, rect: { x: 0, y: 0, width: 8, height: 8 }, samples: 4 };
          await session.render(
            { ...command, output: fresh('.exr') },
            { signal, timeoutMs: RENDER_TIMEOUT_MS },
          );
          return 'rendered';
        })().catch((error: unknown) => {
          expect(isFarmError(error), `seed ${seed}: ${String(error)}`).toBe(true);
          return toFarmError(error).code;
        });
        expect(outcome === 'rendered' || Object.hasOwn(ERRORS, outcome)).toBe(true);
        expect(['INTERNAL', 'INTERRUPTED'], `seed ${seed}`).not.toContain(outcome);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      };
      for (let first = 1; first <= FUZZED_FILES; first += FUZZED_AT_A_TIME) {
        const seeds = Array.from({ length: FUZZED_AT_A_TIME }, (_, index) => first + index);
        await Promise.all(seeds.map(fuzz));
      }
      expect([...outcomes.values()].reduce((sum, count) => sum + count, 0)).toBe(FUZZED_FILES);
      await settle(FUZZ, [...outcomes].map(([what, count]) => `${count} ${what}`).join(', '));
    });
  });
}

/** What the test itself and make-scenes.py put there. */
const KNOWN_OUTSIDE = ['secret', 'socket', 'library.blend', 'copy.blend', 'secret.png'];
