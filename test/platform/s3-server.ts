/**
 * A real server with the S3 API on a free port, with one empty bucket. It takes any signature of the fourth version, so each
 * request is checked on its way in, by the description of that version and without the library that signs.
 */
import { createHash, createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';

/** The one that the server knows. */
const KEY = 'S3RVER';

type S3App = { configureBuckets(): Promise<unknown>; callback(): RequestListener };
/** The package has no types. */
const S3rver = createRequire(import.meta.url)('s3rver') as new (options: object) => S3App;

export type S3Server = AsyncDisposable & { url: string };

export async function startS3(folder: string): Promise<S3Server> {
  const app = new S3rver({ silent: true, directory: folder, configureBuckets: [{ name: 'blobs' }] });
  await app.configureBuckets();
  const answer = app.callback();
  const server: Server = createServer((request, response) => {
    if (isSigned(request, KEY)) return answer(request, response);
    response.writeHead(403).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${KEY}:${KEY}@127.0.0.1:${port}/blobs`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Signature version 4, as Amazon describes it, of requests without a query. */
function isSigned(request: IncomingMessage, secret: string): boolean {
  const words = request.headers.authorization ?? '';
  const [, scope = '', names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=[^/]+\/([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]+)$/.exec(
      words,
    ) ?? [];
  const headers = names.split(';').map((name) => `${name}:${String(request.headers[name] ?? '').trim()}\n`);
  const payload = String(request.headers['x-amz-content-sha256'] ?? '');
  const canonical = [request.method, request.url, '', headers.join(''), names, payload].join('\n');
  const hash = createHash('sha256').update(canonical).digest('hex');
  const date = String(request.headers['x-amz-date']);
  let key: string | Buffer = `AWS4${secret}`;
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest();
  const text = ['AWS4-HMAC-SHA256', date, scope, hash].join('\n');
  return createHmac('sha256', key).update(text).digest('hex') === signature;
}
