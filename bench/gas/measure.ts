/**
 * What the contracts cost, from the receipts of real transactions: what every transaction costs by itself and its
 * calldata are in it. One node, 64 tiles a batch, sixteen batches a transaction, four verifiers.
 */
import { type Contract, id, Signature, type Wallet, ZeroAddress, ZeroHash } from 'ethers';
import { type Lab, openLab, people, type Sent, secretsOf, typesOf, UNIT } from './lab.ts';

/** Gas by name. `each` figures are a sixteenth of their transaction. */
export type GasFigures = Record<(typeof NAMES)[number], number>;
const NAMES = [
  ...['openWithPermit', 'addFunds', 'closeJob'],
  ...['commitOne', 'commitOneFirstUse', 'commitOf16', 'commitOf16FirstUse'],
  ...['drawOne', 'drawOf16', 'attestOne', 'attestOf16', 'settleOne', 'settleOf16'],
  ...[
    'withdraw',
    'withdrawFirst',
    'secondOpinion',
    'settleWithSlash',
    'registerNode',
    'stake',
    'joinVerifier',
  ],
] as const;

export const BATCHES = 16;
export const TILES = 64;
const PASS = 1;
const FAIL = 2;
/** As a batch of 64 tiles of a few cents each. */
const AMOUNT = 2_560_000n;
const NO_PERMIT = { value: 0, deadline: 0, v: 0, r: ZeroHash, s: ZeroHash };
const COMMIT = typesOf('Commit', 'bytes32 jobKey,bytes32 batchKey,bytes32 root,uint16 count,uint96 amount');
const VERDICT = typesOf('Verdict', 'bytes32 batchKey,bytes32 seed,uint8 outcome,bytes32 evidence');
const OPEN_JOB = typesOf(
  'OpenJob',
  'address requester,bytes32 jobKey,uint96 budget,uint96 maxTaskPrice,uint40 deadline',
);
const NODE = typesOf(
  'NodeTerms',
  'address node,address operator,bytes32 deviceClass,uint96 ask,uint64 nonce',
);
const VERIFIER = typesOf('VerifierTerms', 'address verifier,address operator,bytes32 head,uint64 nonce');
const STAKE = typesOf('StakeTerms', 'address operator,uint96 amount,uint64 nonce');

/** The struct that the contract keeps a hash of, by field. */
type Batch = Record<string, string | number | bigint | boolean>;
type Live = { key: string; batch: Batch };

/** Does everything once on a chain of its own. Some seconds. */
export async function measureGas(signal: AbortSignal): Promise<GasFigures> {
  await using lab = await openLab(signal);
  const figures: Partial<GasFigures> = {};
  Object.assign(figures, await setUp(lab));
  const { commit, draw, attest, settle } = actions(lab);

  // The first round takes lanes that were never used.
  const fresh = await commit(people.node, BATCHES, 1n);
  figures.commitOf16FirstUse = each(fresh.sent);
  await settle(await attest(await draw(fresh.live), PASS));
  figures.withdrawFirst = (await lab.send(lab.escrow, 'withdrawFor', people.node.address)).gas;
  // The second is what a farm does all day.
  const used = await commit(people.node, BATCHES, 2n);
  figures.commitOf16 = each(used.sent);
  const drawn = await draw(used.live);
  figures.drawOf16 = each(drawn.sent);
  const judged = await attest(drawn, PASS);
  figures.attestOf16 = each(judged.sent);
  figures.settleOf16 = each((await settle(judged)).sent);
  figures.withdraw = (await lab.send(lab.escrow, 'withdrawFor', people.node.address)).gas;

  const one = await commit(people.node, 1, 3n);
  figures.commitOne = one.sent.gas;
  const oneDrawn = await draw(one.live);
  figures.drawOne = oneDrawn.sent.gas;
  const oneJudged = await attest(oneDrawn, PASS);
  figures.attestOne = oneJudged.sent.gas;
  figures.settleOne = (await settle(oneJudged)).sent.gas;

  const bad = await commit(people.freshNode, 1, 1n);
  figures.commitOneFirstUse = bad.sent.gas;
  const suspected = await attest(await draw(bad.live), FAIL);
  figures.secondOpinion = suspected.sent.gas;
  figures.settleWithSlash = (await settle(await attest(suspected, FAIL))).sent.gas;
  figures.closeJob = (await lab.send(lab.escrow, 'closeJob', id('job'))).gas;
  return Object.fromEntries(
    NAMES.map((name) => {
      const gas = figures[name];
      if (gas === undefined) throw new Error(`${name} was not measured`);
      return [name, gas];
    }),
  ) as GasFigures;
}

function each({ gas }: Sent): number {
  return Math.round(gas / BATCHES);
}

async function setUp(lab: Lab): Promise<Partial<GasFigures>> {
  const { token, registry, escrow, send } = lab;
  const figures: Partial<GasFigures> = {};
  const permit = async (owner: Wallet, spender: Contract, value: bigint) => {
    const deadline = 2n ** 40n;
    const nonce = (await token.getFunction('nonces')(owner.address)) as bigint;
    const terms = { owner: owner.address, spender: spender.target as string, value, nonce, deadline };
    const { v, r, s } = Signature.from(await lab.signPermit(owner, terms));
    return { value, deadline, v, r, s };
  };
  const stake = async (operator: Wallet, amount: bigint, nonce: number) => {
    await send(token, 'mint', operator.address, amount);
    const terms = { operator: operator.address, amount, nonce };
    const signature = await lab.signForRegistry(operator, STAKE, terms);
    const sent = await send(registry, 'stakeFor', terms, signature, await permit(operator, registry, amount));
    figures.stake = sent.gas;
  };
  const open = async (requester: Wallet, name: string) => {
    const budget = 1_000n * UNIT;
    // One more than it needs: an account that is emptied is cheaper.
    await send(token, 'mint', requester.address, budget + 1n);
    const deadline = 2n ** 31n;
    const terms = { requester: requester.address, jobKey: id(name), budget, maxTaskPrice: UNIT, deadline };
    const signature = await lab.signForEscrow(requester, OPEN_JOB, terms);
    return send(escrow, 'openJob', terms, signature, await permit(requester, escrow, budget));
  };
  for (const verifier of people.verifiers) {
    await stake(verifier, 100n * UNIT, 0);
    const { address } = verifier;
    const [head] = secretsOf(verifier, SECRETS);
    const terms = { verifier: address, operator: address, head, nonce: 1 };
    const sent = await send(
      registry,
      'joinVerifier',
      terms,
      await lab.signForRegistry(verifier, VERIFIER, terms),
    );
    figures.joinVerifier = sent.gas;
    await send(registry, 'activateVerifier', address);
  }
  for (const node of [people.node, people.freshNode]) {
    const terms = {
      node: node.address,
      operator: node.address,
      deviceClass: id('cpu-avx2'),
      ask: 5,
      nonce: 0,
    };
    const sent = await send(
      registry,
      'registerNode',
      terms,
      await lab.signForRegistry(node, NODE, terms),
      '0x',
    );
    figures.registerNode = sent.gas;
    await stake(node, 100n * UNIT, 1);
  }
  // The escrow has money already, as it has all but once in its life; the requester's permit is its first.
  await open(people.coordinator, 'an earlier job');
  figures.openWithPermit = (await open(people.requester, 'job')).gas;
  await send(token, 'mint', people.coordinator.address, 2n * UNIT);
  await send(token, 'approve', escrow.target, 2n ** 256n - 1n);
  figures.addFunds = (await send(escrow, 'addFunds', id('job'), UNIT, NO_PERMIT)).gas;
  return figures;
}

const SECRETS = 64;

/** Each takes batches one step on, in one transaction, and keeps the structs that the next step has to bring. */
function actions(lab: Lab) {
  const chains = new Map(people.verifiers.map((one) => [one.address, secretsOf(one, SECRETS)]));
  const place = new Map<string, number>();
  const { escrow, send } = lab;

  const commit = async (node: Wallet, count: number, generation: bigint) => {
    const terms = Array.from({ length: count }, (_, lane) => {
      const tail = ((BigInt(lane) << 64n) | generation).toString(16).padStart(24, '0');
      const batchKey = `${node.address.toLowerCase()}${tail}`;
      return { jobKey: id('job'), batchKey, root: id(`root of ${batchKey}`), count: TILES, amount: AMOUNT };
    });
    const signatures = await Promise.all(terms.map((one) => lab.signForEscrow(node, COMMIT, one)));
    const sent =
      count === 1
        ? await send(escrow, 'commit', terms[0], signatures[0])
        : await send(escrow, 'commitMany', terms, signatures);
    const live = sent.events.map(({ args }): Live => {
      const { batchKey, jobKey, operator, root, count: tiles, amount, stake, anchor, since } = args as Batch;
      return {
        key: batchKey as string,
        batch: {
          ...BLANK,
          ...{
            jobKey,
            root,
            operator,
            amount,
            stake,
            count: tiles,
            anchor,
            committedAt: since,
            since,
            state: 1,
          },
        } as Batch,
      };
    });
    await lab.mine(3);
    return { sent, live };
  };

  const draw = async (live: Live[]) => {
    const secrets: string[] = [];
    for (const { key, batch } of live) {
      const drawer = (await escrow.getFunction('drawerOf')(key, batch)) as string;
      const next = (place.get(drawer) ?? 0) + 1;
      place.set(drawer, next);
      const secret = chains.get(drawer)?.[next];
      if (secret === undefined) throw new Error(`${drawer} has no secret left`);
      secrets.push(secret);
    }
    const [first] = live;
    const sent =
      live.length === 1 && first !== undefined
        ? await send(escrow, 'draw', first.key, first.batch, secrets[0])
        : await send(escrow, 'drawMany', keysOf(live), batchesOf(live), secrets);
    return { sent, live: advance(live, sent) };
  };

  const attest = async ({ live }: { live: Live[] }, outcome: number) => {
    const words = await Promise.all(
      live.map(async ({ key, batch }) => {
        const asked = batch.state === 3 ? batch.second : batch.verifier;
        const signer = people.verifiers.find((one) => one.address === asked);
        if (signer === undefined) throw new Error(`nobody knows ${asked}`);
        const evidence = id(`evidence of ${key}`);
        const verdict = { batchKey: key, seed: batch.seed, outcome, evidence };
        return { outcome, evidence, signature: await lab.signForEscrow(signer, VERDICT, verdict) };
      }),
    );
    const [first] = live;
    const sent =
      live.length === 1 && first !== undefined
        ? await send(escrow, 'attest', first.key, first.batch, words[0])
        : await send(escrow, 'attestMany', keysOf(live), batchesOf(live), words);
    return { sent, live: advance(live, sent) };
  };

  const settle = async ({ live }: { live: Live[] }) => ({
    sent: await send(escrow, 'settle', keysOf(live), batchesOf(live)),
  });
  return { commit, draw, attest, settle };
}

const keysOf = (live: Live[]): string[] => live.map(({ key }) => key);
const batchesOf = (live: Live[]): Batch[] => live.map(({ batch }) => batch);

/** What the events say changed. */
function advance(live: Live[], { events }: Sent): Live[] {
  return live.map(({ key, batch }) => {
    const next = { ...batch };
    for (const { name, args } of events) {
      if (args['batchKey'] !== key) continue;
      const { seed, verifier, since, outcome, next: second, agreed, last } = args as Batch;
      if (name === 'Drawn') Object.assign(next, { seed, verifier, since, state: 2 });
      if (name === 'Attested' && next['state'] === 3) Object.assign(next, { secondOutcome: outcome });
      else if (name === 'Attested') {
        next['firstOutcome'] = outcome as bigint;
        if (second !== ZeroAddress) Object.assign(next, { second, since, state: 3 });
      }
      if (name === 'Judged') Object.assign(next, { outcome, agreed, last, since, state: 5 });
    }
    return { key, batch: next };
  });
}

const BLANK: Batch = {
  ...{
    jobKey: ZeroHash,
    root: ZeroHash,
    seed: ZeroHash,
    operator: ZeroAddress,
    amount: 0,
    stake: 0,
    count: 0,
  },
  ...{ anchor: 0, committedAt: 0, since: 0, state: 0, turns: 0, verifier: ZeroAddress, second: ZeroAddress },
  ...{ firstOutcome: 0, secondOutcome: 0, outcome: 0, agreed: false, last: false, disputer: ZeroAddress },
  ...{ bond: 0, panel: ZeroHash },
};
