import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blobsUrl } from '../../cli/farm/blobs-url.ts';
import { natsConfig, natsServers } from '../../cli/farm/nats-servers.ts';
import { tempFolder } from '../platform/temp-folder.ts';

describe('message servers of your own', () => {
  it('are none where nobody named one', () => {
    expect(natsServers({})).toEqual({ natsUrl: undefined, natsReplicas: undefined });
  });

  it('keep the list three times where there are three, once where there are fewer, and as often as somebody says', () => {
    const three = 'nats://one:4222, nats://two:4222,tls://three:4222';
    expect(natsServers({ natsUrl: three })).toEqual({
      natsUrl: 'nats://one:4222,nats://two:4222,tls://three:4222',
      natsReplicas: 3,
    });
    expect(natsServers({ natsUrl: 'nats://one:4222' })).toMatchObject({ natsReplicas: 1 });
    expect(natsServers({ natsUrl: three, natsReplicas: '1' })).toMatchObject({ natsReplicas: 1 });
  });

  it.each([
    [{ natsUrl: 'http://one' }],
    [{ natsUrl: 'nats://one,,' }],
    [{ natsUrl: 'nats://one', natsReplicas: '3' }],
    [{ natsReplicas: '3' }],
  ])('are refused as %o', (options) => {
    expect(() => natsServers(options)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  });

  it('are told whom to trust, the same each time, and no secret', async () => {
    await using folder = await tempFolder();
    const text = await natsConfig(folder.path);
    // The keys stay; the tokens that say so have the time in them.
    const keys = (config: string): unknown[] => config.match(/^(system_account: | {2})A[A-Z2-7]{55}/gm) ?? [];
    expect(keys(text)).toHaveLength(3);
    expect(keys(await natsConfig(folder.path))).toEqual(keys(text));
    expect(text).toMatch(/^operator: ey/m);
    const seeds = Object.values(JSON.parse(await readFile(join(folder.path, 'nats-keys.json'), 'utf8')));
    expect(seeds).toHaveLength(3);
    for (const seed of seeds) expect(text).not.toContain(seed);
  });
});

describe('a bucket by TESSERA_BLOBS_URL', () => {
  it('is none where nobody named one, and refused without being shown where it is no address', () => {
    expect(blobsUrl({})).toBeUndefined();
    const good = 'https://key:secret@host/bucket';
    expect(blobsUrl({ TESSERA_BLOBS_URL: good })).toBe(good);
    const bad = () => blobsUrl({ TESSERA_BLOBS_URL: 'https://mine:hidden@host/' });
    expect(bad).toThrowError(expect.objectContaining({ code: 'USAGE' }));
    expect(bad).not.toThrowError(/hidden/);
  });
});
