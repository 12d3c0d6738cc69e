/** The node's side of an appeal against a farm that is played here: what it asks, signs and says, whatever is lost on the way. */
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  addressOf,
  escrowDomain,
  newPrivateKey,
  recoverDisputeSigner,
  recoverPermitSigner,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { createLog } from '../../platform/log.ts';
import { errorCodeOf, FarmError, toFarmError } from '../../protocol/errors.ts';
import { addressSchema, nodeIdSchema } from '../../protocol/ids.ts';
import { type Appeal, appealSchema, type FailedBatch } from '../../protocol/messages.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import { type AppealNode, appealUntilStopped } from '../../worker/appeals.ts';
import { delivery, drawFrom, FakeBlobs, makeReceipts } from '../verifier/batch.ts';

const OPERATOR = newPrivateKey();
const welcome = {
  chainId: 31_337,
  escrow: addressSchema.parse(`0x${'e5'.repeat(20)}`),
  token: addressSchema.parse(`0x${'70'.repeat(20)}`),
};

function failedBatch(changes: Partial<FailedBatch> = {}): FailedBatch {
  const receipts = makeReceipts(new FakeBlobs(), delivery);
  const { challenge } = drawFrom(receipts);
  return {
    ...{ challenge, receipts, withheld: [], findings: [] },
    ...{ bond: 1_000_000n, permitNonce: 7n, leftMs: 60_000 },
    ...changes,
  };
}

type Fate = 'taken' | 'lost before' | 'lost after' | FarmError;

/** A farm that tells of one failed batch until it has an answer to it, as the real one does. */
function play(options: {
  batch?: FailedBatch;
  own?: boolean;
  appealBond?: number;
  /** What becomes of each answer, in order; taken when left out. */
  fates?: Fate[];
  /** What looking again gives each time, or throws. */
  looks?: (Outcome | FarmError)[];
  /** What it says of it. */
  words?: string;
}) {
  const {
    batch = failedBatch(),
    own = true,
    fates = [],
    looks = ['pass'],
    words = 'crop 1',
    appealBond,
  } = options;
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  const received: Appeal[] = [];
  let looked = 0;
  let answered: Appeal | null = null;
  const answer = (verb: string, message: unknown): unknown => {
    if (verb === 'failed') {
      if (answered === null) return { batch };
      stopping.abort();
      return { batch: null };
    }
    const appeal = appealSchema.parse(message);
    received.push(appeal);
    const fate = fates[received.length - 1] ?? 'taken';
    if (fate === 'lost before') throw new FarmError('FARM_UNREACHABLE', 'nobody answers');
    // What the farm has refused for good it does not tell of again.
    answered = appeal;
    if (fate === 'lost after') throw new FarmError('FARM_UNREACHABLE', 'the answer is lost');
    if (fate !== 'taken') throw fate;
    return {};
  };
  const request = async (subject: string, payload: string) => {
    let envelope: unknown;
    try {
      envelope = { ok: true, value: answer(subject.split('.')[2] ?? '', JSON.parse(payload)) };
    } catch (error) {
      const { code, message } = toFarmError(error);
      envelope = { ok: false, code: errorCodeOf(code), message };
    }
    return { json: () => JSON.parse(toJson(envelope)) };
  };
  const node = {
    ...{ nats: { request }, log: createLog('test', 'silent'), welcome, operatorKey: OPERATOR },
    config: { nodeId: nodeIdSchema.parse('node-1'), dataFolder: '/nowhere', threads: 1, appealBond },
    journal: { knowsAll: () => own },
  } as unknown as AppealNode;
  const look = async () => {
    const found = looks[Math.min(looked++, looks.length - 1)] ?? 'pass';
    if (found instanceof FarmError) throw found;
    return { outcome: found, reason: words };
  };
  const over = appealUntilStopped(node, stopping.signal, look);
  return { over, batch, received, looked: () => looked };
}

describe('a node that hears of a failed batch', () => {
  it('signs this dispute and exactly its bond with the key of its operator', async () => {
    const { over, batch, received } = play({});
    await over;
    const [appeal] = received;
    const { dispute } = appeal ?? {};
    if (dispute == null) throw new Error('it did not appeal');
    const { batchKey, seed } = batch.challenge;
    const { disputer, bond, permit } = dispute;
    expect({ disputer, bond, seed: appeal?.seed }).toEqual({
      disputer: addressOf(OPERATOR),
      bond: batch.bond,
      seed,
    });
    const domain = escrowDomain(welcome.chainId, welcome.escrow);
    expect(recoverDisputeSigner(domain, { batchKey, seed, disputer, bond }, dispute.signature)).toBe(
      disputer,
    );
    const { signature, ...terms } = permit;
    expect(terms).toMatchObject({ value: batch.bond, nonce: batch.permitNonce });
    const owned = { owner: disputer, spender: welcome.escrow, ...terms };
    expect(recoverPermitSigner(tokenDomain(welcome.chainId, welcome.token), owned, signature)).toBe(disputer);
    expect(received).toHaveLength(1);
  });

  it.each<[string, Parameters<typeof play>[0], number]>([
    ['it finds wrong', { looks: ['fail'] }, 1],
    ['it finds unclear', { looks: ['inconclusive'] }, 1],
    ['is not its own', { own: false }, 0],
    ['costs more to appeal than its operator allows', { appealBond: 999_999 }, 0],
  ])('says that it makes no appeal where the batch %s', async (_why, options, looks) => {
    const { over, received, looked } = play(options);
    await over;
    expect(received).toMatchObject([{ dispute: null }]);
    expect(looked()).toBe(looks);
  });

  it('says in one line what a renderer said in several', async () => {
    const { over, received } = play({ looks: ['fail'], words: `crop\n1\u001b[2J${'\u{1f4a5}'.repeat(600)}` });
    await over;
    expect(received[0]?.reason).toMatch(/^rendered again here.*crop 1 \[2J/u);
  });

  it('asks again after an answer that was lost, and renders no second time for it', async () => {
    const { over, received, looked } = play({ fates: ['lost before', 'lost after'] });
    await over;
    expect(received).toHaveLength(2);
    expect(received.every(({ dispute }) => dispute !== null)).toBe(true);
    expect(looked()).toBe(1);
  });

  it('goes on where the farm finds it too late', async () => {
    const { over, received } = play({ fates: [new FarmError('NOT_DISPUTABLE', 'too late')] });
    await over;
    expect(received).toHaveLength(1);
  });

  it('looks once more after a renderer that failed, and does not bet on what it could not see', async () => {
    const broken = new FarmError('RENDER_FAILED', 'crashed');
    const once = play({ looks: [broken, 'pass'] });
    await once.over;
    expect(once.received).toMatchObject([{ dispute: { bond: 1_000_000n } }]);
    const twice = play({ looks: [broken] });
    await twice.over;
    expect(twice.received).toMatchObject([{ dispute: null }]);
    expect(twice.looked()).toBe(2);
  });

  it('does not count a farm that is away as a renderer that failed', async () => {
    const away = new FarmError('FARM_UNREACHABLE', 'away');
    const { over, received, looked } = play({ looks: [away, away, 'pass'] });
    await over;
    expect(looked()).toBe(3);
    expect(received[0]?.dispute).not.toBeNull();
  });

  it('asks nothing at all where its operator lets it appeal against nothing', async () => {
    const { over, received } = play({ appealBond: 0 });
    await over;
    expect(received).toEqual([]);
  });
});
