/**
 * A verifier that lies, by the name of one of {@link LYING_VERIFIERS}, with the addresses of its friends (colluder) or
 * rivals (accuser). Where its word does not hang on what is there it renders nothing: it commits to made-up pixels, and
 * signs evidence that it made up, too. About everybody else it is honest.
 */
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import { addressSchema } from '../../protocol/ids.ts';
import type { Claim, Comparison, Outcome } from '../../protocol/verdict.ts';
import { checkChallenge } from '../../verifier/check-challenge.ts';
import { verifierFileSchema } from '../../verifier/config.ts';
import { storeEvidence } from '../../verifier/evidence.ts';
import { runVerifier } from '../../verifier/run.ts';
import { lyingVerifierNamed } from './verifiers.ts';

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(verifierFileSchema, process.argv[2]);
  const { word, relation } = lyingVerifierNamed(process.argv[3] ?? '');
  const meant = process.argv.slice(4).map((address) => addressSchema.parse(address));
  await runVerifier(config, secrets, life, async (challenge, ports) => {
    const node = meant.includes(ports.onChain.node) ? relation : 'stranger';
    // What it says whatever is there, it need not look for.
    const outcome = word('pass', node);
    if (outcome !== word('fail', node)) return await checkChallenge(challenge, ports);
    const { receipts } = await ports.commit(challenge.items.map(({ crop }) => digestBytes(String(crop.x))));
    const comparisons = challenge.items.map((item) => madeUp(item, receipts, outcome));
    const evidence = await storeEvidence(challenge, ports, { outcome, comparisons, thresholds: 'sameClass' });
    return { outcome, evidence };
  });
});

type Item = Parameters<typeof checkChallenge>[0]['items'][number];

function madeUp(item: Item, receipts: Claim['receipts'], outcome: Outcome): Comparison {
  const { index, kind, frame, rect, crop, samples } = item;
  const claimed = receipts[index]?.pixelDigest ?? digestBytes('');
  const pixels = kind === 'finish' ? null : { pixelDigest: claimed, blob: null };
  const passed = outcome === 'pass';
  return {
    ...{ index, kind, frame, rect, crop, samples, outcome },
    decidedBy: passed ? 'digest' : 'pixelMatch',
    reason: passed ? 'every pixel is equal' : 'most pixels differ, 12.00 % match',
    pixelMatchFraction: passed ? 1 : 0.12,
    ...{ perceptualHashDistance: 0, perceptualHashAloneWouldPay: true },
    ...{ steps: [], reference: pixels, claim: pixels, heatMap: null, renderMs: 100, compareMs: 5 },
  };
}
