/** A job's events as they happen: what was, then what comes, without a gap (server-sent events, Last-Event-ID). */
import type { Request, Response } from 'express';
import { toJson } from '../../platform/json.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';

/** Comments in between, so that proxies and clients see that the line is alive. */
const ALIVE_MS = 15_000;

const PAGE = 500;

export async function streamJobEvents(
  context: CoordinatorContext,
  id: JobId,
  request: Request,
  response: Response,
  signal: AbortSignal,
): Promise<void> {
  let seq = Number(request.headers['last-event-id'] ?? 0);
  if (!Number.isSafeInteger(seq) || seq < 0) seq = 0;
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  response.flushHeaders();
  let wake: () => void = () => undefined;
  let ended = false;
  const end = (): void => {
    ended = true;
    wake();
  };
  request.on('close', end);
  signal.addEventListener('abort', end, { once: true });
  const stop = context.events.onNews(() => wake());
  const alive = setInterval(() => response.write(': alive\n\n'), ALIVE_MS);
  try {
    while (!ended) {
      const news = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const events = await context.events.after(id, seq, PAGE);
      for (const event of events) {
        seq = event.seq;
        response.write(`id: ${event.seq}\ndata: ${toJson(event)}\n\n`);
      }
      if (events.length < PAGE && !ended) await news;
    }
  } finally {
    clearInterval(alive);
    stop();
    signal.removeEventListener('abort', end);
    response.end();
  }
}
