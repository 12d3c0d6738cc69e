/** A chain as others run them: with another id than the farm's own, and with reorganisations. In truth anvil, in memory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { vi } from 'vitest';
import { anvilBinary, freePort } from '../../platform/chain/embedded.ts';
import { jsonRpc, type Rpc } from '../../platform/chain/json-rpc.ts';

export const PUBLIC_CHAIN_ID = 424_242;

export type PublicChain = {
  url: string;
  rpc: Rpc;
  mine(blocks?: number): Promise<unknown>;
  end(): Promise<void>;
};

export async function startPublicChain(): Promise<PublicChain> {
  const port = await freePort();
  const args = ['--port', String(port), '--chain-id', String(PUBLIC_CHAIN_ID), '--accounts', '0', '--quiet'];
  const child = spawn(anvilBinary(), args, { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  const rpc = jsonRpc(url);
  await vi.waitFor(() => rpc.call('eth_chainId', []), { timeout: 30_000, interval: 25 });
  return {
    url,
    rpc,
    mine: (blocks = 1) => rpc.call('anvil_mine', [`0x${blocks.toString(16)}`]),
    async end() {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}
