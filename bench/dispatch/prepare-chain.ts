/** A chain on which all the nodes are registered, made once: each farm of the benchmark begins with a copy of it. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { nameOfStranger } from '../../coordinator/sign-in/may-join.ts';
import { deployEmbedded, EMBEDDED_STAKE } from '../../platform/chain/deploy.ts';
import type { Deployment } from '../../platform/chain/deployment.ts';
import { freePort, startAnvil } from '../../platform/chain/embedded.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { deviceClassKey } from '../../platform/chain/keys.ts';
import { secretChain } from '../../platform/chain/secret-chain.ts';
import {
  addressOf,
  newPrivateKey,
  type PrivateKey,
  registryDomain,
  signNodeTerms,
  signPermit,
  signStakeTerms,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import type { Address, NodeId } from '../../protocol/ids.ts';

export type SyntheticMember = { id: NodeId; key: PrivateKey };

export type PreparedChain = {
  stateFile: string;
  deployment: Deployment;
  coordinatorKey: PrivateKey;
  verifierKey: PrivateKey;
  /** Whose nodes they all are. */
  operator: Address;
  nodes: readonly SyntheticMember[];
};

const DAY_S = 86_400;

export async function prepareChain(
  folder: string,
  { nodes: count, deviceClass }: { nodes: number; deviceClass: string },
  signal: AbortSignal,
): Promise<PreparedChain> {
  await mkdir(join(folder, 'chain'), { recursive: true });
  const stateFile = join(folder, 'chain', 'state.json');
  const chain = await startAnvil({ stateFile, port: await freePort(), signal });
  try {
    const [coordinatorKey, verifierKey, operatorKey] = [newPrivateKey(), newPrivateKey(), newPrivateKey()];
    const { head } = secretChain(newPrivateKey() as never);
    const deployment = await deployEmbedded(chain.url, {
      coordinatorKey,
      // Nobody checks anything here, but a farm has to have somebody who could.
      verifiers: [{ verifierKey, operatorKey: newPrivateKey(), head }],
      signal,
    });
    const nodes = Array.from({ length: count }, () => {
      const key = newPrivateKey();
      return { id: nameOfStranger(addressOf(key)), key };
    });
    const farmChain = ethersChain({
      ...deployment,
      url: chain.url,
      coordinatorKey,
      embedded: { stateFile },
    });
    const operator = addressOf(operatorKey);
    const domain = registryDomain(deployment.chainId, deployment.registryAddress);
    await farmChain.mintTestTokens(operator, EMBEDDED_STAKE, signal);
    let { nonce } = await farmChain.operator(operator, signal);
    const stake = { operator, amount: EMBEDDED_STAKE, nonce };
    const permit = signPermit(
      tokenDomain(deployment.chainId, deployment.tokenAddress),
      {
        ...{ owner: operator, spender: deployment.registryAddress, value: EMBEDDED_STAKE },
        nonce: await farmChain.permitNonce(operator, signal),
        deadline: Math.floor(Date.now() / 1_000) + DAY_S,
      },
      operatorKey,
    );
    await farmChain.stakeFor(stake, signStakeTerms(domain, stake, operatorKey), permit, signal);
    for (const { key } of nodes) {
      nonce += 1n;
      const terms = {
        ...{ node: addressOf(key), operator, nonce, ask: 0n },
        deviceClass: deviceClassKey(deviceClass),
      };
      const [own, its] = [operatorKey, key].map((one) => signNodeTerms(domain, terms, one));
      if (own !== undefined && its !== undefined) await farmChain.registerNode(terms, own, its, signal);
    }
    return { stateFile, deployment, coordinatorKey, verifierKey, operator, nodes };
  } finally {
    await chain.stop();
  }
}
