/** --wallet: the keystore is opened here, and only what was made here is signed. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encryptKeystoreJson, getAddress } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWallet } from '../../cli/render/open-wallet.ts';
import { submitFromWallet } from '../../cli/render/submit-from-wallet.ts';
import type { Terminal } from '../../cli/terminal.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import {
  addressOf,
  escrowDomain,
  newPrivateKey,
  recoverOpenJobSigner,
  recoverPermitSigner,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { FarmInfo } from '../../protocol/http.ts';
import { type Address, digestSchema, jobIdSchema } from '../../protocol/ids.ts';
import type { JobRequest, JobView } from '../../protocol/job.ts';
import type { SignedJob, WalletQuote } from '../../protocol/wallet.ts';

const key = newPrivateKey();
const wallet = addressOf(key);
const info = {
  chainId: 31_337,
  escrow: addressOf(newPrivateKey()),
  token: addressOf(newPrivateKey()),
  tokenSymbol: 'TESS',
} as FarmInfo;
const request: JobRequest = { scene: digestSchema.parse('ab'.repeat(32)), name: 'scene.blend' };
const terms = { budget: 1_500_000n, maxTaskPrice: 1_000n, deadline: 1_900_000_000, permitNonce: 4n };
const job = jobIdSchema.parse('job_1');
const quote = { job, wallet, terms, openJob: {}, permit: {} } as WalletQuote;

function terminal(environment: NodeJS.ProcessEnv = {}, secret: string | null = null) {
  const said: string[] = [];
  const asked: string[] = [];
  return {
    ...{ said, asked, environment },
    say: (text: string) => void said.push(text),
    result: () => undefined,
    askSecret: async (question: string) => {
      asked.push(question);
      return secret;
    },
    err: { write: () => true },
    now: () => 0,
    signal: new AbortController().signal,
  } as unknown as Terminal & { said: string[]; asked: string[] };
}

describe('signing', () => {
  function farm(answers: (Error | JobView)[], quoted = quote) {
    const accepted: SignedJob[] = [];
    return {
      accepted,
      info: async () => info,
      quote: async () => quoted,
      acceptQuote: async (_id: typeof job, signed: SignedJob) => {
        accepted.push(signed);
        const answer = answers.shift();
        if (answer === undefined || answer instanceof Error) throw answer ?? new Error('asked too often');
        return answer;
      },
    };
  }

  it('signs the terms for the farm’s escrow and no one else, and says so first', async () => {
    const made = { id: job } as JobView;
    const client = farm([made]);
    const at = terminal();
    expect(await submitFromWallet(client, request, key, at)).toBe(made);
    const { signatures } = client.accepted[0] as SignedJob;
    const { budget, maxTaskPrice, deadline, permitNonce: nonce } = terms;
    const open = { requester: wallet, jobKey: jobKey(job), budget, maxTaskPrice, deadline };
    const permit = { owner: wallet, spender: info.escrow, value: budget, nonce, deadline };
    const [onEscrow, onToken] = [
      escrowDomain(info.chainId, info.escrow),
      tokenDomain(info.chainId, info.token),
    ];
    expect(recoverOpenJobSigner(onEscrow, open, signatures.openJob as never)).toBe(wallet);
    expect(recoverPermitSigner(onToken, permit, signatures.permit as never)).toBe(wallet);
    expect(at.said.join('\n')).toContain(`1.500 TESS to the escrow ${info.escrow}`);
    expect(JSON.stringify(client.accepted[0], (_, v) => (typeof v === 'bigint' ? `${v}` : v))).not.toContain(
      key.slice(2),
    );
  });

  it('signs nothing above the budget, whatever the farm asks for', async () => {
    const client = farm([]);
    await expect(
      submitFromWallet(client, { ...request, budget: 1_499_999n }, key, terminal()),
    ).rejects.toMatchObject({ code: 'BUDGET_TOO_LOW', kept: expect.stringContaining('nothing was signed') });
    expect(client.accepted).toEqual([]);
  });

  it('asks for another quote where one has gone stale, and gives up on anything else', async () => {
    const made = { id: job } as JobView;
    const client = farm([new FarmError('QUOTE_STALE', 'too late'), made]);
    expect(await submitFromWallet(client, request, key, terminal())).toBe(made);
    expect(client.accepted).toHaveLength(2);
    const refusing = farm([new FarmError('WALLET_REFUSED', 'no')]);
    await expect(submitFromWallet(refusing, request, key, terminal())).rejects.toMatchObject({
      code: 'WALLET_REFUSED',
    });
  });
});

describe('the keystore', () => {
  const password = 'a long password that must not be told';
  let folder: string;
  let file: string;
  let json: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-wallet-'));
    file = join(folder, 'wallet.json');
    // The cheapest that the format has: what it costs is not what is tried here.
    const cheap = { scrypt: { N: 2, r: 1, p: 1 } };
    json = await encryptKeystoreJson({ address: getAddress(wallet), privateKey: key }, password, cheap);
    await writeFile(file, json);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is opened with the password of the environment, and nobody is asked', async () => {
    const at = terminal({ TESSERA_WALLET_PASSWORD: password });
    expect(await openWallet(file, at)).toBe(key);
    expect(at.asked).toEqual([]);
  });

  it('is opened with what somebody types', async () => {
    const at = terminal({}, password);
    expect(await openWallet(file, at)).toBe(key);
    expect(at.asked).toEqual([`password of ${file}: `]);
  });

  it('is refused in words that tell no secret', async () => {
    const other = addressOf(newPrivateKey()) as Address;
    const cases: [string, string | null][] = [
      [json, 'another password'],
      [json, null],
      ['{"version":3}', password],
      [JSON.stringify({ ...JSON.parse(json), address: other.slice(2) }), password],
      [key, password],
    ];
    for (const [text, secret] of cases) {
      const path = join(folder, 'other.json');
      await writeFile(path, text);
      const error = await openWallet(path, terminal({}, secret)).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        code: 'WALLET_UNREADABLE',
        kept: expect.stringContaining('nothing was'),
      });
      expect(String(error)).not.toContain(key.slice(2));
      expect(String(error)).not.toContain(password);
    }
    await expect(openWallet(join(folder, 'none'), terminal())).rejects.toMatchObject({
      code: 'WALLET_UNREADABLE',
    });
  });
});
