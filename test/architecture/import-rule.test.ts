import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { packageRoot } from '../../platform/package-root.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const ROOMS = ['protocol', 'proof', 'platform', 'coordinator', 'worker', 'verifier', 'cli', 'contracts'];

type Violation = { rule: string; from: string; to: string };

/** Runs dependency-cruiser with the rules of this repository over the rooms of `folder`. */
async function violationsIn(
  folder: string,
  rooms: string[],
): Promise<{ violations: Violation[]; files: number }> {
  const tool = join(packageRoot(), 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const config = join(packageRoot(), '.dependency-cruiser.cjs');
  const output = await new Promise<string>((resolve, reject) => {
    const options = { cwd: folder, maxBuffer: 64 << 20 };
    execFile(
      process.execPath,
      [tool, '--config', config, '--output-type', 'json', ...rooms],
      options,
      (error, stdout) => {
        // It exits with the number of violations; only an output that is none says that it could not work.
        if (stdout === '') reject(error ?? new Error('dependency-cruiser said nothing'));
        else resolve(stdout);
      },
    );
  });
  const { summary } = JSON.parse(output) as {
    summary: { totalCruised: number; violations: { rule: { name: string }; from: string; to: string }[] };
  };
  return {
    violations: summary.violations.map(({ rule, from, to }) => ({ rule: rule.name, from, to })),
    files: summary.totalCruised,
  };
}

describe('the import rule', () => {
  it('holds in the whole repository', async () => {
    const { violations, files } = await violationsIn(packageRoot(), ROOMS);
    expect(violations).toEqual([]);
    expect(files).toBeGreaterThan(100);
  });
});

describe('the import rule, where it is broken,', () => {
  const files: Record<string, string> = {
    'tsconfig.json':
      '{"compilerOptions":{"module":"NodeNext","moduleResolution":"NodeNext","allowImportingTsExtensions":true,"noEmit":true}}',
    'package.json': '{"type":"module"}',
    'protocol/ids.ts': 'export const id = 1;',
    'platform/files.ts': "import { id } from '../protocol/ids.ts';\nexport const file = id;",
    'platform/nats/connection.ts': "import { connect } from 'nats';\nexport { connect };",
    'platform/chain/keys.ts': "import { id } from 'ethers';\nexport { id };",
    'proof/draw.ts': "import { keccak256 } from 'ethers/crypto';\nexport { keccak256 };",
    'worker/config.ts': 'export type WorkerConfig = { a: number };\nexport const schema = 1;',
    'worker/run.ts': "import type { NatsConnection } from 'nats';\nexport type Used = NatsConnection;",
    'cli/farm/programs.ts':
      "import type { WorkerConfig } from '../../worker/config.ts';\nexport type Used = WorkerConfig;",
    // From here on each file breaks one rule.
    'protocol/climbs.ts': "import { file } from '../platform/files.ts';\nexport { file };",
    'proof/climbs.ts': "import { file } from '../platform/files.ts';\nexport { file };",
    'proof/reads.ts': "import { readFile } from 'node:fs/promises';\nexport { readFile };",
    'platform/climbs.ts':
      "import type { WorkerConfig } from '../worker/config.ts';\nexport type A = WorkerConfig;",
    'coordinator/sideways.ts': "import type { Used } from '../worker/run.ts';\nexport type A = Used;",
    'cli/farm/value.ts': "import { schema } from '../../worker/config.ts';\nexport { schema };",
    'cli/elsewhere.ts':
      "import type { WorkerConfig } from '../worker/config.ts';\nexport type A = WorkerConfig;",
    'worker/nats.ts': "import { connect } from 'nats';\nexport { connect };",
    'worker/ethers.ts': "import { keccak256 } from 'ethers/crypto';\nexport { keccak256 };",
    'verifier/one.ts': "import { two } from './two.ts';\nexport const one = () => two;",
    'verifier/two.ts': "import { one } from './one.ts';\nexport const two = () => one;",
    'test/help.ts': 'export const help = 1;',
    'worker/tested.ts': "import { help } from '../test/help.ts';\nexport { help };",
    'worker/lost.ts': "import { nothing } from './nowhere.ts';\nexport { nothing };",
  };

  let folder: string;
  let found: string[];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-imports-'));
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
    await symlink(join(packageRoot(), 'node_modules'), join(folder, 'node_modules'));
    const rooms = ROOMS.filter((room) => room !== 'contracts');
    found = (await violationsIn(folder, rooms)).violations.map(({ rule, from }) => `${from}: ${rule}`);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each([
    'protocol/climbs.ts: protocol-imports-nothing-of-ours',
    'proof/climbs.ts: proof-is-pure',
    'proof/reads.ts: proof-touches-no-system',
    'platform/climbs.ts: platform-knows-no-program',
    'coordinator/sideways.ts: programs-do-not-import-each-other',
    'cli/farm/value.ts: configurations-only-as-types',
    'cli/elsewhere.ts: configurations-only-in-cli-farm',
    'worker/nats.ts: nats-only-in-platform-nats',
    'worker/ethers.ts: ethers-only-in-platform-chain',
    'verifier/one.ts: no-cycles',
    'worker/tested.ts: no-tests-in-the-product',
    'worker/lost.ts: nothing-unresolvable',
  ])('finds %s', (violation) => {
    expect(found).toContain(violation);
  });

  it('finds nothing in files that keep to it', () => {
    const good = Object.keys(files).slice(0, Object.keys(files).indexOf('protocol/climbs.ts'));
    expect(found.filter((line) => good.some((path) => line.startsWith(`${path}:`)))).toEqual([]);
  });
});
