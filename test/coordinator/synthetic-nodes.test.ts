import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { coordinatorConfigSchema } from '../../coordinator/config.ts';
import type { CoordinatorContext } from '../../coordinator/context.ts';
import { welcomeNode } from '../../coordinator/scheduling/nodes.ts';
import { requireNoSynthetic } from '../../coordinator/synthetic-engines.ts';
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import { addressOf, newPrivateKey } from '../../platform/chain/signing.ts';
import { createSyntheticRuntime } from '../../platform/render/synthetic/runtime.ts';
import { nodeIdSchema } from '../../protocol/ids.ts';
import { PROTOCOL_VERSION } from '../../protocol/messages.ts';
import {
  DEVICE_CLASS,
  ENGINE,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';

const ETHEREUM = 1;

describe('a node with a synthetic engine', () => {
  let farm: TestCoordinator;
  const synthetic = createSyntheticRuntime();
  const blender = { id: ENGINE, deviceClass: DEVICE_CLASS };

  beforeAll(async () => {
    farm = await testCoordinator();
  });
  afterAll(() => farm[Symbol.asyncDispose]());

  function hello(
    name: string,
    engines: { id: string; deviceClass: string }[],
    changes: Partial<CoordinatorContext>,
  ) {
    const address = addressOf(newPrivateKey());
    const message = {
      protocolVersion: PROTOCOL_VERSION as typeof PROTOCOL_VERSION,
      ...{ address, operator: address, engines },
    };
    return welcomeNode({ ...farm.context, ...changes }, nodeIdSchema.parse(name), message);
  }
  const allowed = () => ({ ...farm.context.config, allowSynthetic: true });

  it('is refused with the reason, also where it has a Blender besides', async () => {
    const { id, deviceClass } = synthetic.engine;
    for (const engines of [[{ id, deviceClass }], [blender, { id: 'synthetic-9', deviceClass }]]) {
      await expect(hello('fake', engines, {})).rejects.toMatchObject({
        code: 'SYNTHETIC_REFUSED',
        message: expect.stringMatching(/^fake renders with synthetic-\d, .*allowSynthetic$/),
        help: expect.stringContaining('Blender'),
      });
    }
    expect(
      await farm.db.selectFrom('nodes').selectAll().where('id', '=', nodeIdSchema.parse('fake')).execute(),
    ).toEqual([]);
  });

  it('is refused by a farm that has the engine itself and was not started for it', async () => {
    const changes = { engines: [synthetic] };
    await expect(hello('fake', [synthetic.engine], changes)).rejects.toMatchObject({
      code: 'SYNTHETIC_REFUSED',
    });
  });

  it('is welcome on a farm that was started for it', async () => {
    await hello('loaded', [synthetic.engine], { config: allowed(), engines: [synthetic] });
    expect((await farm.node(nodeIdSchema.parse('loaded'))).engine).toBe(synthetic.engine.id);
  });

  it('is not served by a farm of Blenders, whatever that was started with', async () => {
    await expect(hello('other', [synthetic.engine], { config: allowed() })).rejects.toMatchObject({
      code: 'NODE_NOT_SERVED',
    });
  });

  it('is refused wherever money may be real', () => {
    const farmOf = (chainId: number) => ({ allowSynthetic: true, chainId });
    expect(() => requireNoSynthetic('fake', [synthetic.engine], farmOf(ETHEREUM))).toThrow(
      /chain 1 is not the embedded one/,
    );
    expect(() => requireNoSynthetic('fake', [synthetic.engine], farmOf(EMBEDDED_CHAIN_ID))).not.toThrow();
    expect(() =>
      requireNoSynthetic('node-1', [blender], { allowSynthetic: false, chainId: ETHEREUM }),
    ).not.toThrow();
  });

  it('is refused when a configuration says nothing about it', () => {
    const { allowSynthetic: _, ...config } = farm.context.config;
    expect(coordinatorConfigSchema.parse(config).allowSynthetic).toBe(false);
  });
});
