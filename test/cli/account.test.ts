/** `tessera account`, and the master key that the farm starts with. */
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accountChange, accountLines } from '../../cli/account-command.ts';
import { accountsKey, loadAccountsKey } from '../../cli/farm/accounts-key.ts';
import { addressOf, newPrivateKey } from '../../platform/chain/signing.ts';

describe('what is asked for an account', () => {
  it('is only what was said; nothing at all lifts the limit of nodes, as it always did', () => {
    expect(accountChange('films', {}).change).toEqual({ maxNodes: null });
    expect(accountChange('films', { maxNodes: '3' }).change).toEqual({ maxNodes: 3 });
    expect(accountChange('films', { capJob: '2.5' }).change).toEqual({ capPerJob: 2_500_000n });
    expect(accountChange('films', { capJob: 'none', capTotal: '7' }).change).toEqual({
      capPerJob: null,
      capInAll: 7_000_000n,
    });
    expect(accountChange('films', { ownKey: true }).change).toEqual({ ownKey: true });
  });

  it('is refused before a farm is looked for, in words that name the option', () => {
    expect(() => accountChange('films', { capTotal: '-1' })).toThrow('--cap-total -1');
    expect(() => accountChange('No Name', {})).toThrow('account No Name');
  });

  it('is said in TESS', () => {
    const address = addressOf(newPrivateKey());
    const money = { capPerJob: 2_500_000n, capInAll: null, spent: 1n, promised: 3_000_000n };
    const said = accountLines({ name: 'films', maxNodes: null, address, ...money }).join('\n');
    expect(said).toContain('any number of node(s)');
    expect(said).toContain('2.500 TESS on a job, anything in all; 0.000001 TESS are spent, 3.000 promised');
    expect(said).toContain(address);
  });
});

describe('the master key', () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'tessera-accounts-'));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  it('is made once, for its owner only', async () => {
    const made = await loadAccountsKey(root);
    const file = join(root, 'accounts.key');
    expect((await readFile(file, 'utf8')).trim()).toBe(made);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await chmod(file, 0o644);
    expect(await loadAccountsKey(root)).toBe(made);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('is never made anew over one that cannot be read, and no message shows it', async () => {
    const file = join(root, 'accounts.key');
    await writeFile(file, 'half a ke');
    const error = await loadAccountsKey(root).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'USAGE', kept: 'nothing was started' });
    expect(String(error)).not.toContain('half a ke');
    expect(await readFile(file, 'utf8')).toBe('half a ke');
  });

  it('may come from the environment, with or without 0x', () => {
    const hex = newPrivateKey().slice(2);
    expect(accountsKey({ TESSERA_ACCOUNTS_KEY: hex })).toBe(`0x${hex}`);
    expect(accountsKey({ TESSERA_ACCOUNTS_KEY: `0x${hex.toUpperCase()}` })).toBe(`0x${hex}`);
    expect(accountsKey({})).toBeUndefined();
    expect(() => accountsKey({ TESSERA_ACCOUNTS_KEY: 'short' })).toThrow('TESSERA_ACCOUNTS_KEY is no key');
  });
});
