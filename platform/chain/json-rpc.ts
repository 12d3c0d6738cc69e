/** Ethereum JSON-RPC over HTTP: every wait ends with its signal, and nothing but a question that a block overtook is asked again. */
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';

/** A node that takes longer than this for one request is as good as gone. */
const REQUEST_TIMEOUT_MS = 30_000;

/** The node understood the request and refused it. `data` carries the revert reason of a contract, if any. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly data: string | undefined;

  constructor(message: string, data: string | undefined) {
    super(message);
    this.data = data;
  }
}

export type RpcRequest = { method: string; params: readonly unknown[] };

export type Rpc = {
  readonly url: string;
  /** One request. Throws RpcError (refused) or FarmError CHAIN_UNAVAILABLE (no answer). */
  call(method: string, params: readonly unknown[], signal?: AbortSignal): Promise<unknown>;
  /** Several requests in one round trip, answers in the same order; the first refusal is thrown. */
  batch(requests: readonly RpcRequest[], signal?: AbortSignal): Promise<unknown[]>;
};

const answerSchema = z.object({
  id: z.number(),
  result: z.unknown().optional(),
  error: z.object({ message: z.string(), data: z.unknown().optional() }).optional(),
});

/** A client for the node at `url`. Holds no connection of its own and needs no closing. */
export function jsonRpc(url: string): Rpc {
  const once: Rpc['batch'] = async (requests, signal) => {
    const body = requests.map((request, id) => ({ jsonrpc: '2.0', id, ...request }));
    const parsed = z.array(answerSchema).safeParse(await post(url, body, signal));
    if (!parsed.success) {
      throw new FarmError('CHAIN_UNAVAILABLE', `${originOf(url)} does not answer like a chain`, {
        cause: parsed.error,
      });
    }
    const answers = new Map(parsed.data.map((answer) => [answer.id, answer]));
    return requests.map((request, id) => {
      const answer = answers.get(id);
      if (answer === undefined) throw new FarmError('CHAIN_UNAVAILABLE', `no answer to ${request.method}`);
      if (answer.error !== undefined) {
        throw new RpcError(answer.error.message, revertData(answer.error.data));
      }
      return answer.result;
    });
  };
  const batch: Rpc['batch'] = async (requests, signal) => {
    for (let tries = 1; ; tries++) {
      try {
        return await once(requests, signal);
      } catch (error) {
        if (tries >= MAX_OVERTAKEN || !wasOvertaken(error) || !requests.every(onlyReads)) throw error;
      }
    }
  };
  return {
    url,
    batch,
    async call(method, params, signal) {
      const [result] = await batch([{ method, params }], signal);
      return result;
    },
  };
}

/**
 * Measured on anvil 1.7.1 with `--prune-history`: a question about `latest` that a new block overtakes is refused, since
 * the block that was the latest when it came has no state any more. The same question again is answered.
 */
const MAX_OVERTAKEN = 10;

function wasOvertaken(error: unknown): boolean {
  return error instanceof RpcError && error.message.includes('BlockOutOfRangeError');
}

function onlyReads({ method }: RpcRequest): boolean {
  return method.startsWith('eth_') && !method.startsWith('eth_send');
}

/** Some nodes wrap the revert bytes in an object. */
function revertData(data: unknown): string | undefined {
  if (typeof data === 'string') return data;
  if (typeof data === 'object' && data !== null && 'data' in data) return revertData(data.data);
  return undefined;
}

async function post(url: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
  signal?.throwIfAborted();
  // Not AbortSignal.any: on Node 20 it leaks a listener per request on a signal that lives as long as the program.
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => stop.abort(new Error('timed out')), REQUEST_TIMEOUT_MS);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: stop.signal,
    });
    return await response.json();
  } catch (error) {
    signal?.throwIfAborted();
    throw new FarmError('CHAIN_UNAVAILABLE', `the chain at ${originOf(url)} does not answer`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/** What of a node's address may be shown: providers put the secret of an account behind the host. */
export function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : 'its address';
}

const quantitySchema = z.string().regex(/^0x[0-9a-f]+$/i);

/** A JSON-RPC quantity as bigint. */
export function quantity(value: unknown): bigint {
  return BigInt(quantitySchema.parse(value));
}
