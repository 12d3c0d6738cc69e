import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { type SetupOptions, setupFarm } from '../../cli/farm/setup-farm.ts';
import { coordinatorConfigSchema, coordinatorSecretsSchema } from '../../coordinator/config.ts';
import { listen } from '../../platform/http/listen.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { verifierFileSchema } from '../../verifier/config.ts';
import { workerFileSchema } from '../../worker/config.ts';
import { tempFolder } from '../platform/temp-folder.ts';

vi.setConfig({ testTimeout: 60_000 });

const serviceSchema = z.looseObject({
  image: z.string(),
  command: z.array(z.string()).default([]),
  environment: z.record(z.string(), z.string()).default({}),
  secrets: z.array(z.string()).default([]),
  networks: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  user: z.string().optional(),
  healthcheck: z.looseObject({ test: z.array(z.string()) }).optional(),
});
const filesSchema = z.record(z.string(), z.object({ file: z.string() }));
const composeSchema = z.looseObject({
  services: z.record(z.string(), serviceSchema),
  networks: z.record(z.string(), z.unknown()),
  volumes: z.record(z.string(), z.unknown()),
  configs: filesSchema,
  secrets: filesSchema,
});

const root = packageRoot();
const text = await readFile(join(root, 'compose.yaml'), 'utf8');
const compose = composeSchema.parse(parse(text, { merge: true }));
const own = Object.entries(compose.services).filter(([, { image }]) => image === 'tessera');
const run = promisify(execFile);

const COORDINATOR_FILE = z.strictObject({
  config: coordinatorConfigSchema,
  secrets: coordinatorSecretsSchema,
});

function setupOptions(dataFolder: string): SetupOptions {
  return {
    ...{ dataFolder, nodes: ['node-1'], verifiers: ['verifier-1', 'verifier-2'], runtime: 'process' },
    ...{ apiUrl: 'http://coordinator:7733', natsUrl: 'nats://nats:4222', chainUrl: 'http://chain:8545' },
    ...{ databaseHost: 'postgres', signal: new AbortController().signal },
  };
}

describe('compose.yaml', () => {
  it('starts programs that there are, with commands and options that they have', async () => {
    expect(own.map(([name]) => name)).toEqual(
      expect.arrayContaining(['coordinator', 'chain', 'verifier-1', 'node-1', 'setup']),
    );
    for (const [name, { command }] of own) {
      const [program = '', ...rest] = command;
      const source = program.replace(/^dist\//, '').replace(/\.js$/, '.ts');
      expect(existsSync(join(root, source)), `${name}: ${program}`).toBe(true);
      if (source !== 'cli/main.ts') continue;
      const [verb = '', ...options] = rest;
      const cli = ['--import', import.meta.resolve('tsx'), join(root, source), verb, '--help'];
      const { stdout } = await run(process.execPath, cli);
      expect(stdout, name).toContain(`tessera ${verb} `);
      for (const option of options.filter((one) => one.startsWith('--')))
        expect(stdout, `${name} ${verb}`).toContain(`${option} <`);
    }
  });

  it('names environment variables that are read', async () => {
    const files = await readdir(join(root, 'cli'), { recursive: true });
    const sources = await Promise.all(
      files.filter((file) => file.endsWith('.ts')).map((file) => readFile(join(root, 'cli', file), 'utf8')),
    );
    const names = own.flatMap(([, { environment }]) => Object.keys(environment));
    expect(names.length).toBeGreaterThan(0);
    for (const name of names)
      expect(
        sources.some((source) => source.includes(`environment['${name}']`)),
        name,
      ).toBe(true);
  });

  it('gives every program its own file and folder, and nobody the secrets of another', () => {
    for (const [name, { command, secrets, networks, volumes }] of Object.entries(compose.services)) {
      for (const secret of secrets) expect(Object.keys(compose.secrets), name).toContain(secret);
      for (const network of networks) expect(Object.keys(compose.networks), name).toContain(network);
      for (const [volume = ''] of volumes.map((one) => one.split(':')))
        if (!volume.startsWith('.')) expect(Object.keys(compose.volumes), name).toContain(volume);
      const file = command.find((word) => word.startsWith('/run/secrets/'));
      if (file === undefined) continue;
      expect(secrets).toEqual([name]);
      expect(file).toBe(`/run/secrets/${name}`);
      expect(volumes).toContain(`${name}:/var/lib/tessera`);
    }
  });

  it('keeps nodes away from database and chain, and asks the coordinator for its readiness', () => {
    const networksOf = (name: string) => compose.services[name]?.networks;
    expect(networksOf('node-1')).toEqual(['nodes']);
    expect(networksOf('postgres')).toEqual(['inside']);
    expect(networksOf('chain')).toEqual(['inside']);
    expect(compose.services['coordinator']?.healthcheck?.test.at(-1)).toMatch(/\/readyz$/);
  });
});

describe('tessera setup', () => {
  it('makes every file that compose.yaml hands out, and programs can be started with them', async () => {
    await using folder = await tempFolder();
    await setupFarm(setupOptions(folder.path));
    const placeOf = (file: string): string => join(folder.path, file.replace(/^\.\/farm\//, ''));
    const readProgram = async (name: string): Promise<unknown> =>
      JSON.parse(await readFile(placeOf(compose.secrets[name]?.file ?? ''), 'utf8'));
    for (const [name, { file }] of Object.entries(compose.secrets)) {
      expect((await stat(placeOf(file))).mode & 0o077, name).toBe(0);
    }
    const conf = await readFile(placeOf(compose.configs['nats']?.file ?? ''), 'utf8');
    expect(conf).toContain('host: 0.0.0.0');
    expect(conf).toContain('store_dir: "/data"');

    const { config, secrets } = COORDINATOR_FILE.parse(await readProgram('coordinator'));
    const verifiers = await Promise.all(
      ['verifier-1', 'verifier-2'].map(async (name) => verifierFileSchema.parse(await readProgram(name))),
    );
    const node = workerFileSchema.parse(await readProgram('node-1'));
    const password = await readFile(placeOf(compose.secrets['postgres-password']?.file ?? ''), 'utf8');
    expect(new URL(secrets.databaseUrl ?? '').password).toBe(password);
    const hosts = [
      ...[config.publicUrl, config.natsUrl, config.chainUrl, secrets.databaseUrl ?? ''],
      ...verifiers.flatMap((one) => [one.config.apiUrl, one.config.natsUrl, one.config.chainUrl]),
      ...[node.config.apiUrl, node.config.natsUrl],
    ].map((url) => new URL(url).hostname);
    for (const host of hosts) expect(Object.keys(compose.services)).toContain(host);
    expect(config.join.known.map(({ id }) => id).sort()).toEqual(['node-1', 'verifier-1', 'verifier-2']);
    expect(existsSync(join(folder.path, 'chain', 'state.json'))).toBe(true);

    // Again, with one node more: whoever was there keeps its key, and the contracts stay.
    await setupFarm({ ...setupOptions(folder.path), nodes: ['node-1', 'node-2'] });
    const after = COORDINATOR_FILE.parse(await readProgram('coordinator'));
    expect(after.secrets).toEqual(secrets);
    expect(after.config.escrowAddress).toBe(config.escrowAddress);
    expect(after.config.join.known).toHaveLength(4);
    expect(workerFileSchema.parse(await readProgram('node-1')).secrets).toEqual(node.secrets);
    await expect(
      setupFarm({ ...setupOptions(folder.path), verifiers: ['verifier-3'] }),
    ).rejects.toMatchObject({ code: 'USAGE', kept: 'nothing was changed' });
  });
});

describe('the health check of a container', () => {
  it('fails where the server says that it is not ready, or does not answer', async () => {
    let ready = true;
    const answer: RequestListener = (_request, response) => {
      response.writeHead(ready ? 200 : 503).end(JSON.stringify({ ok: ready }));
    };
    const check = (url: string): Promise<unknown> =>
      run(process.execPath, [join(root, 'docker/healthy.mjs'), url]);
    await using http = await listen(answer, 0);
    await check(`${http.url}/readyz`);
    ready = false;
    await expect(check(`${http.url}/readyz`)).rejects.toMatchObject({ code: 1 });
    await http[Symbol.asyncDispose]();
    await expect(check(`${http.url}/readyz`)).rejects.toMatchObject({ code: 1 });
  });
});
