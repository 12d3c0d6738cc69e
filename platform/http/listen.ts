/** A listening HTTP server that closes in order. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FarmError } from '../../protocol/errors.ts';
import { errorCode } from '../files.ts';

/** A client that keeps a stream open must not keep the program from ending. */
const CLOSE_AFTER_MS = 1_000;

/** Listens on the loopback address, or on `host`. `port` 0 takes any free one. Throws PORT_TAKEN. */
export async function listen(
  handler: RequestListener,
  port: number,
  host = '127.0.0.1',
): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer(handler);
  // Uploads of large scenes take as long as they take; the default of five minutes cuts them off.
  server.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const taken = errorCode(error) === 'EADDRINUSE' || errorCode(error) === 'EACCES';
      reject(
        taken
          ? new FarmError('PORT_TAKEN', `port ${port} is taken by another program`, { cause: error })
          : error,
      );
    });
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  return {
    url: `http://${host}:${address.port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      setTimeout(() => server.closeAllConnections(), CLOSE_AFTER_MS).unref();
      await closed;
    },
  };
}
