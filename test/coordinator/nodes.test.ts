import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { z } from 'zod';
import { requireWorkingNode, welcomeNode } from '../../coordinator/scheduling/nodes.ts';
import { addressSchema, nodeIdSchema } from '../../protocol/ids.ts';
import { type helloSchema, PROTOCOL_VERSION } from '../../protocol/messages.ts';
import {
  DEVICE_CLASS,
  ENGINE,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

describe('nodes', () => {
  const hello = (
    address: string,
    { engine = ENGINE, deviceClass = DEVICE_CLASS } = {},
  ): z.output<typeof helloSchema> => ({
    protocolVersion: PROTOCOL_VERSION,
    address: addressSchema.parse(address),
    operator: addressSchema.parse(address),
    engines: [{ id: engine, deviceClass }],
  });
  const [mine, theirs] = [`0x${'a1'.repeat(20)}`, `0x${'b2'.repeat(20)}`];

  it('are written down at their first hello and brought up to date at the next', async () => {
    const id = nodeIdSchema.parse('newcomer');
    await welcomeNode(farm.context, id, hello(mine));
    farm.clock.advance(1_000);
    // As a farm that was updated meanwhile finds it.
    await farm.db.updateTable('nodes').set({ engine: 'blender-2.8' }).where('id', '=', id).execute();
    await welcomeNode(farm.context, id, hello(mine));
    expect(await farm.node(id)).toMatchObject({
      engine: ENGINE,
      device_class: DEVICE_CLASS,
      last_seen_at: new Date(farm.clock.now()),
    });
  });

  it.each([
    ['another engine', { engine: 'blender-4.3.2' }],
    ['another class of CPU', { deviceClass: 'cpu-sse42' }],
  ])('with %s than this farm can check are refused and not written down', async (_what, other) => {
    const id = nodeIdSchema.parse('otherwise');
    await expect(welcomeNode(farm.context, id, hello(mine, other))).rejects.toMatchObject({
      code: 'NODE_NOT_SERVED',
      message: expect.stringContaining(Object.values(other).join()),
    });
    const known = await farm.db.selectFrom('nodes').select('id').where('id', '=', id).executeTakeFirst();
    expect(known).toBeUndefined();
  });

  it('that were known and come back with another engine stay as they were', async () => {
    const id = nodeIdSchema.parse('updated');
    await welcomeNode(farm.context, id, hello(mine));
    const before = await farm.node(id);
    farm.clock.advance(1_000);
    await expect(
      welcomeNode(farm.context, id, hello(mine, { engine: 'blender-4.3.2' })),
    ).rejects.toMatchObject({ code: 'NODE_NOT_SERVED' });
    expect(await farm.node(id)).toEqual(before);
  });

  it('cannot take the name of another key', async () => {
    const id = nodeIdSchema.parse('famous');
    await welcomeNode(farm.context, id, hello(mine));
    await expect(welcomeNode(farm.context, id, hello(theirs))).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
    });
    expect((await farm.node(id)).address).toBe(mine);
  });

  it('get no work before they said hello', async () => {
    await expect(requireWorkingNode(farm.context, nodeIdSchema.parse('stranger'))).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
    });
  });

  it('get no work while they are quarantined, are told why, and work again afterwards', async () => {
    const node = await farm.addNode();
    const until = new Date(farm.clock.now() + 60_000);
    await farm.db
      .updateTable('nodes')
      .set({ quarantined_until: until, reason: 'black tile' })
      .where('id', '=', node.id)
      .execute();
    await expect(requireWorkingNode(farm.context, node.id)).rejects.toMatchObject({
      code: 'NODE_QUARANTINED',
      message: expect.stringContaining('black tile'),
    });
    farm.clock.advance(60_000);
    expect(await requireWorkingNode(farm.context, node.id)).toEqual({
      id: node.id,
      address: node.address,
      pools: [],
      engines: [ENGINE],
    });
  });
});
