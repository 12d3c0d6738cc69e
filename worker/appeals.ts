/** Hears of this node's failed batches, looks at them again, and appeals where they are right. */
import { signAppeal } from '../platform/chain/sign-appeal.ts';
import type { PrivateKey } from '../platform/chain/signing.ts';
import { ask } from '../platform/nats/exchange.ts';
import { backoffMs, pause, stoppable } from '../platform/wait.ts';
import { receiptLeaf } from '../proof/receipts.ts';
import { isChainTrouble, isFarmError, toFarmError } from '../protocol/errors.ts';
import {
  type Appeal,
  FAILED_ANSWER_MS,
  type FailedBatch,
  MAX_APPEAL_REASON,
  NODE_EXCHANGES,
  nodeSubject,
  type Welcome,
} from '../protocol/messages.ts';
import {
  type AppealFacts,
  DEFAULT_APPEAL_BOND,
  decideAppeal,
  type LookedAgain,
  whyNotLook,
} from './decide-appeal.ts';
import { type LookNode, lookAgain } from './look-again.ts';
import type { Node } from './node.ts';
import type { ReceiptJournal } from './receipt-journal.ts';

/** Taking an appeal asks the chain, and waits for nothing else. */
const APPEAL_TIMEOUT_MS = 30_000;

/** A renderer that fails twice at what it could do before fails again. */
const MAX_LOOKS = 2;

/** Findings that are written to the log; the farm has all of them. */
const LOGGED_FINDINGS = 4;

export type AppealNode = Omit<LookNode, 'config'> &
  Pick<Node, 'nats' | 'log'> & {
    config: Pick<Node['config'], 'nodeId' | 'dataFolder' | 'threads' | 'appealBond'>;
    journal: Pick<ReceiptJournal, 'knowsAll'>;
    welcome: Pick<Welcome, 'chainId' | 'escrow' | 'token'>;
    /** Whose bond it is. */
    operatorKey: PrivateKey;
  };

/** What was found, so that an answer which could not be handed in is not rendered for again. */
type Memory = { seed: string; looked: LookedAgain | null; failures: number };

/** Whether a node with these settings asks the farm about failed batches at all. */
export function mayAppeal({
  appealBond = DEFAULT_APPEAL_BOND,
}: {
  appealBond?: number | undefined;
}): boolean {
  return appealBond > 0;
}

/**
 * Asks until told to stop. Nothing of it has to be kept over a restart: what has not been answered the farm tells again, and
 * of what has been it takes the first answer.
 */
export async function appealUntilStopped(
  node: AppealNode,
  signal: AbortSignal,
  look: typeof lookAgain = lookAgain,
): Promise<void> {
  const { nats, log, config } = node;
  if (!mayAppeal(config)) return;
  const subject = nodeSubject(config.nodeId, 'failed');
  let memory = null as Memory | null;
  let attempt = 0;
  while (!signal.aborted) {
    try {
      const reply = await stoppable(ask(nats, NODE_EXCHANGES.failed, subject, {}, FAILED_ANSWER_MS), signal);
      if (reply === null) return;
      if (reply.batch !== null) {
        const { seed } = reply.batch.challenge;
        if (memory?.seed !== seed) memory = { seed, looked: null, failures: 0 };
        await answer(node, reply.batch, memory, look, signal);
      }
      attempt = 0;
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ err: error }, 'failed batches could not be looked at; trying again');
      await pause(backoffMs(attempt++), signal);
    }
  }
}

async function answer(
  node: AppealNode,
  batch: FailedBatch,
  memory: Memory,
  look: typeof lookAgain,
  signal: AbortSignal,
): Promise<void> {
  const { nats, log, config, welcome, operatorKey } = node;
  const { batchId, seed } = batch.challenge;
  const facts = factsOf(node, batch);
  if (memory.looked === null && whyNotLook(facts) === null) {
    const findings = batch.findings.slice(0, LOGGED_FINDINGS);
    log.warn({ batchId, findings }, 'a batch of this node was failed; looking at it again');
    memory.looked = await lookOnce(node, batch, memory, look, signal);
  }
  const { appeals, reason } = decideAppeal(facts, memory.looked);
  const nowS = Math.floor(Date.now() / 1_000);
  const dispute = appeals ? signAppeal(welcome, batch, operatorKey, nowS) : null;
  const message: Appeal = { batchId, seed, reason: oneLine(reason), dispute };
  try {
    await ask(nats, NODE_EXCHANGES.appeal, nodeSubject(config.nodeId, 'appeal'), message, APPEAL_TIMEOUT_MS);
  } catch (error) {
    if (!isFarmError(error, 'NOT_DISPUTABLE')) throw error;
    log.warn({ batchId, err: error }, 'the answer to a failed batch came too late');
    return;
  }
  if (appeals) log.warn({ batchId, bond: String(batch.bond), reason }, 'appealed: a committee decides');
  else log.warn({ batchId, reason }, 'not appealed');
}

/** As the farm takes it: what a renderer said may have lines, and what is cut may end in half a character. */
function oneLine(text: string): string {
  return text.slice(0, MAX_APPEAL_REASON).replace(/\p{C}/gu, ' ');
}

function factsOf({ config, journal }: AppealNode, batch: FailedBatch): AppealFacts {
  return {
    bond: batch.bond,
    mostBond: BigInt(config.appealBond ?? DEFAULT_APPEAL_BOND),
    leftMs: batch.leftMs,
    own: journal.knowsAll(batch.receipts.map(receiptLeaf)),
    withheld: batch.withheld.length,
  };
}

/** Null where it cannot be looked at here; throws for what another try may mend. */
async function lookOnce(
  node: AppealNode,
  batch: FailedBatch,
  memory: Memory,
  look: typeof lookAgain,
  signal: AbortSignal,
): Promise<LookedAgain | null> {
  try {
    return await look(node, batch, signal);
  } catch (error) {
    const away = isFarmError(error, 'FARM_UNREACHABLE') || isChainTrouble(error);
    memory.failures += away ? 0 : 1;
    if (away || signal.aborted || memory.failures < MAX_LOOKS) throw error;
    const failure = toFarmError(error);
    node.log.error(
      { err: failure, batchId: batch.challenge.batchId },
      `could not look again. ${failure.help}`,
    );
    return null;
  }
}
