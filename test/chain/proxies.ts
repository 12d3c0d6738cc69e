/** Nodes that do not behave: in front of a real one, over HTTP. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type RpcQuestion = { id: number; method: string; params: unknown[] };
export type RpcAnswer = { id: number; result?: unknown; error?: { message: string } };

export type Proxy = { url: string; close(): Promise<void> };

/** What a node answers is given to `change` before it goes on; `before` can keep a question from it, or wait. */
export async function proxyTo(
  target: string,
  behave: {
    before?(questions: RpcQuestion[]): Promise<'ask' | 'hang up'>;
    change?(question: RpcQuestion, answer: RpcAnswer): RpcAnswer;
  },
): Promise<Proxy> {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await text(request);
    const questions = JSON.parse(body) as RpcQuestion[];
    if ((await behave.before?.(questions)) === 'hang up') {
      request.socket.destroy();
      return;
    }
    const real = await fetch(target, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const answers = (await real.json()) as RpcAnswer[];
    const changed = answers.map((one) => {
      const question = questions.find(({ id }) => id === one.id);
      return question === undefined ? one : (behave.change?.(question, one) ?? one);
    });
    response.setHeader('content-type', 'application/json').end(JSON.stringify(changed));
  };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => request.socket.destroy());
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A node that leaves out all logs of one event. */
export function forgetful(target: string, topic: string): Promise<Proxy> {
  return proxyTo(target, {
    change: ({ method }, answer) => {
      if (method !== 'eth_getLogs' || !Array.isArray(answer.result)) return answer;
      return { ...answer, result: answer.result.filter((log) => log.topics[0] !== topic) };
    },
  });
}

async function text(request: IncomingMessage): Promise<string> {
  let all = '';
  for await (const part of request) all += String(part);
  return all;
}
