import { expect, it } from 'vitest';
import { coordinatorConfigSchema, coordinatorSecretsSchema } from '../../coordinator/config.ts';
import { chainIdOf } from '../../coordinator/open-chain.ts';
import { verifierFileSchema } from '../../verifier/config.ts';

const ADDRESS = `0x${'a1'.repeat(20)}`;
const CONTRACTS = {
  tokenAddress: ADDRESS,
  escrowAddress: ADDRESS,
  registryAddress: ADDRESS,
  deployedBlock: 0,
};
const COMMON = {
  ...CONTRACTS,
  ...{ dataFolder: '/data', httpPort: 0, publicUrl: 'http://localhost', natsUrl: 'nats://localhost' },
  ...{ join: { who: 'known', known: [] }, passMs: 900_000, chainUrl: 'https://provider.example' },
  ...{
    verifiers: [{ id: 'verifier-1', address: ADDRESS }],
    runtime: 'process',
    threads: 1,
    logLevel: 'info',
  },
  ...{ leaseMs: 15_000, batchMaxAgeMs: 60_000, handOverMs: 600_000, appealMs: 0, trialGivesWayMs: 0 },
  ...{ quarantineMs: 0, canaryShare: 0 },
};
const OTHER = { chainId: 10, confirmations: 3 };

it('a coordinator is told of one chain: the embedded one by its state file, or another', () => {
  const own = coordinatorConfigSchema.parse({ ...COMMON, chainStateFile: '/chain/state.json' });
  expect(chainIdOf(own)).toBe(31_337);
  expect(chainIdOf(coordinatorConfigSchema.parse({ ...COMMON, publicChain: OTHER }))).toBe(10);
  for (const wrong of [{}, { chainStateFile: '/chain/state.json', publicChain: OTHER }]) {
    const refused = coordinatorConfigSchema.safeParse({ ...COMMON, ...wrong });
    expect(refused.error?.message).toContain('either chainStateFile');
  }
});

it('no other chain has the id of the embedded one, where everybody is given money', () => {
  for (const publicChain of [
    { ...OTHER, chainId: 31_337 },
    { ...OTHER, chainId: 0 },
    { ...OTHER, confirmations: -1 },
  ])
    expect(coordinatorConfigSchema.safeParse({ ...COMMON, publicChain }).success).toBe(false);
});

it('the address of a provider is among the secrets', () => {
  const key = `0x${'12'.repeat(32)}`;
  const chainUrl = 'https://provider.example/v2/KEY';
  const secrets = {
    natsAccountSeed: 'SA',
    coordinatorKey: key,
    requesterKey: key,
    apiKey: 'a-key-for-people-0001',
  };
  expect(coordinatorSecretsSchema.parse({ ...secrets, chainUrl }).chainUrl).toBe(chainUrl);
  const verifier = {
    config: {
      ...CONTRACTS,
      ...{
        verifierId: 'verifier-1',
        dataFolder: '/data',
        natsUrl: 'nats://localhost',
        apiUrl: 'http://localhost',
      },
      ...{ chainUrl: 'https://provider.example', publicChain: OTHER, runtime: 'process', threads: 1 },
      ...{ niceness: 0, logLevel: 'info' },
    },
    secrets: { verifierKey: key, rootSecret: key, chainUrl },
  };
  expect(verifierFileSchema.parse(verifier).secrets.chainUrl).toBe(chainUrl);
  const wrong = { ...verifier, config: { ...verifier.config, publicChain: { ...OTHER, chainId: 31_337 } } };
  expect(verifierFileSchema.safeParse(wrong).success).toBe(false);
});
