/**
 * `npm run deploy-contracts -- --rpc URL (--token ADDRESS | --test-token) [--dry-run]`: the farm's contracts on a chain that is not its own.
 * The key that pays comes from TESSERA_DEPLOYER_KEY or from a file, never from the command line, where others can see it.
 * Writes contracts/deployments/CHAIN.json, and beside it the compiler's input, for explorers to verify the code with.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { formatEther } from 'ethers';
import { z } from 'zod';
import { compilerVersion, standardInput } from '../contracts/standard-input.ts';
import type { ChainTerms } from '../platform/chain/chain.ts';
import { deployContracts, type Prepared, prepareDeployment } from '../platform/chain/deploy-real.ts';
import { originOf } from '../platform/chain/json-rpc.ts';
import type { PrivateKey } from '../platform/chain/signing.ts';
import { FarmError, toFarmError } from '../protocol/errors.ts';
import { type Address, addressSchema } from '../protocol/ids.ts';

const HELP = `npm run deploy-contracts -- --rpc URL (--token ADDRESS | --test-token) [options]

  --rpc URL             a node of the chain
  --token ADDRESS       the ERC-20 token with permit (ERC-2612) that work is paid in
  --test-token          in its place: makes one that the deployer can print, for chains without value
  --key-file FILE       the deployer's key; else it is read from TESSERA_DEPLOYER_KEY
  --admin ADDRESS       may change coordinator, fee, treasury and pause (the deployer)
  --admin-delay SECONDS between announcing such a change and making it (172800: two days)
  --coordinator ADDRESS may commit batches (the deployer)
  --treasury ADDRESS    gets the fee (the deployer)
  --fee-bps NUMBER      hundredths of a per cent of what a batch is paid, at most 1000 (0)
  --terms FILE          JSON with the terms that are to be others; money in token units
  --confirmations N     blocks to wait for on top of each step (12)
  --out FOLDER          where the result is written (contracts/deployments)
  --dry-run             says what would be sent and its gas, and sends nothing
`;

const seconds = z.coerce.number().int().min(0);
const money = z.string().regex(/^\d+$/).transform(BigInt);
const optionsSchema = z.object({
  rpc: z.url(),
  token: addressSchema.optional(),
  'test-token': z.boolean().default(false),
  'key-file': z.string().optional(),
  admin: addressSchema.optional(),
  'admin-delay': seconds.default(172_800),
  coordinator: addressSchema.optional(),
  treasury: addressSchema.optional(),
  'fee-bps': z.coerce.number().int().min(0).max(1_000).default(0),
  terms: z.string().optional(),
  confirmations: z.coerce.number().int().min(0).default(12),
  out: z.string().default(join(dirname(fileURLToPath(import.meta.url)), '..', 'contracts', 'deployments')),
  'dry-run': z.boolean().default(false),
});
const termsSchema = z
  .strictObject({
    ...{ verdictWindowS: seconds, disputeWindowS: seconds, committeeWindowS: seconds },
    ...{ expireWindowS: seconds, thawTimeS: seconds, joinDelayS: seconds },
    ...{ drawBlocks: seconds, slashFactor: seconds, missPenalty: money, verifierPenalty: money },
    ...{ disputeBond: money, minVerifierStake: money },
  })
  .partial();

/** The contracts whose source an explorer is to know; most tokens are not ours. */
const ROOTS = [
  'NodeRegistry.sol',
  'RenderEscrow.sol',
  '@openzeppelin/contracts/access/manager/AccessManager.sol',
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      ...{ rpc: { type: 'string' }, token: { type: 'string' }, 'key-file': { type: 'string' } },
      ...{ admin: { type: 'string' }, 'admin-delay': { type: 'string' }, coordinator: { type: 'string' } },
      ...{ treasury: { type: 'string' }, 'fee-bps': { type: 'string' }, terms: { type: 'string' } },
      ...{ confirmations: { type: 'string' }, out: { type: 'string' }, 'dry-run': { type: 'boolean' } },
      ...{ 'test-token': { type: 'boolean' }, help: { type: 'boolean' } },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return;
  }
  const asked = optionsSchema.safeParse(lowerAddresses(values));
  if (!asked.success) throw new FarmError('USAGE', `${z.prettifyError(asked.error)}\n\n${HELP}`);
  const given = asked.data;
  if ((given.token === undefined) !== given['test-token'])
    throw new FarmError('USAGE', `name the token with --token, or make one with --test-token\n\n${HELP}`);
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(new FarmError('INTERRUPTED', 'interrupted')));
  const options = {
    ...{ url: given.rpc, key: await keyFrom(given['key-file']), tokenAddress: given.token ?? null },
    ...{ adminDelayS: given['admin-delay'], feeBps: given['fee-bps'], signal: stop.signal },
    ...(given.admin && { admin: given.admin }),
    ...(given.coordinator && { coordinator: given.coordinator }),
    ...(given.treasury && { treasury: given.treasury }),
    ...(given.terms && { terms: await termsFrom(given.terms) }),
    planFile: join(given.out, 'unfinished.json'),
  };
  const prepared = await prepareDeployment(options);
  print(prepared, given.rpc);
  if (given['dry-run']) {
    process.stdout.write('Nothing was sent (--dry-run).\n');
    return;
  }
  await mkdir(given.out, { recursive: true });
  const deployed = await deployContracts({
    ...options,
    journalFile: join(given.out, 'journal.json'),
    confirmations: given.confirmations,
    onStep: (what) => process.stdout.write(`${what}\n`),
  });
  const {
    admin = prepared.deployer,
    coordinator = prepared.deployer,
    treasury = prepared.deployer,
  } = options;
  const record = {
    ...deployed,
    ...{ deployer: prepared.deployer, admin, adminDelayS: options.adminDelayS, coordinator, treasury },
    ...{ feeBps: options.feeBps, terms: prepared.terms },
    contracts: prepared.plan.steps
      .filter((step) => step.address !== null)
      .map(({ label, address, constructorArguments }) => ({ label, address, constructorArguments })),
    compiler: { version: compilerVersion(), standardInput: `${deployed.chainId}.input.json` },
  };
  const path = join(given.out, `${deployed.chainId}.json`);
  await writeFile(path, `${JSON.stringify(record, withoutBigints, 2)}\n`);
  await writeFile(
    join(given.out, record.compiler.standardInput),
    `${JSON.stringify(standardInput(given['test-token'] ? [...ROOTS, 'TestToken.sol'] : ROOTS), null, 2)}\n`,
  );
  process.stdout.write(`The farm's contracts are on chain ${deployed.chainId}: ${path}\n`);
}

function print(
  { chainId, deployer, plan, gas, done, gasPrice, balance, terms }: Prepared,
  rpc: string,
): void {
  const lines = [`Chain ${chainId} at ${originOf(rpc)}, paid by ${deployer} (${formatEther(balance)} there)`];
  for (const [at, step] of plan.steps.entries()) {
    const cost = gas[at];
    const what =
      at < done ? 'done before' : cost == null ? 'known once its contract is there' : `${cost} gas`;
    lines.push(`  ${step.label.padEnd(22)} ${step.address ?? step.to ?? ''}  ${what}`);
  }
  const all = gas.reduce<bigint>((sum, one) => sum + (one ?? 0n), 0n);
  const open = gas.filter((one) => one === null).length;
  const rest = open === 0 ? 'in all' : `without the ${open} calls of contracts that are not there yet`;
  lines.push(`${all} gas ${rest}, at most ${formatEther(all * gasPrice)} at ${gasPrice} wei`);
  lines.push(`Terms: ${JSON.stringify(terms, withoutBigints)}`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

async function keyFrom(file: string | undefined): Promise<PrivateKey> {
  const text = file === undefined ? process.env['TESSERA_DEPLOYER_KEY'] : await readFile(file, 'utf8');
  const key = (text ?? '').trim();
  if (/^0x[0-9a-fA-F]{64}$/.test(key)) return key as PrivateKey;
  const place = file ?? 'TESSERA_DEPLOYER_KEY';
  throw new FarmError('USAGE', `${place} holds no private key (0x and 64 hex digits)`, {
    kept: 'Nothing was sent.',
  });
}

async function termsFrom(file: string): Promise<Partial<ChainTerms>> {
  const parsed = termsSchema.safeParse(JSON.parse(await readFile(file, 'utf8')));
  if (parsed.success) return parsed.data;
  throw new FarmError('USAGE', `${file}: ${z.prettifyError(parsed.error)}`);
}

/** People copy addresses with capital letters as a checksum; here they are lower case. */
function lowerAddresses(values: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(values).map(([name, value]) => [
    name,
    typeof value === 'string' && /^0x[0-9a-fA-F]{40}$/.test(value) ? (value.toLowerCase() as Address) : value,
  ]);
  return Object.fromEntries(entries);
}

function withoutBigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

main().catch((error: unknown) => {
  const failure = toFarmError(error);
  const parts = [failure.message, failure.kept, failure.help].filter((part) => part !== undefined);
  process.stderr.write(`${parts.join('\n')}\n`);
  process.exitCode = 1;
});
