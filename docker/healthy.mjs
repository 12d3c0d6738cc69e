/**
 * Health check of a container: exit 0 when what listens at the URL works. `healthy.mjs URL` asks an HTTP server, such as
 * a coordinator's /readyz; `healthy.mjs --rpc URL` asks a chain.
 */
const rpc = process.argv[2] === '--rpc';
const url = process.argv[rpc ? 3 : 2];
const PATIENCE_MS = 4_000;
const QUESTION = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_chainId', params: [] });

try {
  const response = await fetch(url, {
    signal: AbortSignal.timeout(PATIENCE_MS),
    ...(rpc && { method: 'POST', headers: { 'content-type': 'application/json' }, body: QUESTION }),
  });
  const text = await response.text();
  const works = response.ok && (!rpc || JSON.parse(text).result !== undefined);
  if (!works) process.stderr.write(`${response.status} ${text}\n`);
  process.exitCode = works ? 0 : 1;
} catch (error) {
  process.stderr.write(`${url}: ${error.message}\n`);
  process.exitCode = 1;
}
