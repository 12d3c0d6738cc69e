/** The HTTP API under /api/v1. */
import { pipeline } from 'node:stream/promises';
import express, { type Express } from 'express';
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import {
  parseBody,
  parseParameter,
  problemHandler,
  requireCredential,
  sendJson,
} from '../../platform/http/express-kit.ts';
import { packageVersion } from '../../platform/package-root.ts';
import { blockSchema, unblockSchema } from '../../protocol/blocks.ts';
import { FarmError } from '../../protocol/errors.ts';
import { API_BASE, disputeRequestSchema, type FarmInfo, frameParameterSchema } from '../../protocol/http.ts';
import { batchIdSchema, digestSchema, jobIdSchema, nodeIdSchema } from '../../protocol/ids.ts';
import { accountSchema, jobRequestSchema, sceneManifestSchema } from '../../protocol/job.ts';
import { accountChangeSchema, poolsSchema } from '../../protocol/sharing.ts';
import { SIGN_IN_PATH, signInSchema } from '../../protocol/sign-in.ts';
import { quoteRequestSchema, signedJobSchema } from '../../protocol/wallet.ts';
import type { AdmissionLoop } from '../admission/admission-loop.ts';
import type { CoordinatorContext } from '../context.ts';
import type { Readiness } from '../observing/readiness.ts';
import { observeRequests, observingRoutes } from '../observing/routes.ts';
import { block, unblock } from '../scheduling/blocks.ts';
import { endJob } from '../scheduling/end-job.ts';
import { disputeBatch } from '../settlement/disputes.ts';
import { SignInDesk } from '../sign-in/sign-in.ts';
import { inspectJob } from '../submission/inspect-job.ts';
import { submitJob } from '../submission/jobs.ts';
import type { Scenes } from '../submission/scenes.ts';
import { quoteForWallet, submitSigned } from '../submission/wallet-jobs.ts';
import { receiptsOfBatch, sceneManifest } from './audit-views.ts';
import { streamJobEvents } from './job-events.ts';
import { accountView, changeAccount, setPools } from './sharing.ts';
import { verifierViews } from './verifier-views.ts';
import { batchView, batchViews, frameDetail, frameViews, jobView, jobViews, nodeViews } from './views.ts';
import { whyView } from './why-view.ts';

/** One file of a scene, or one frame's EXR: far above what is usual, far below what fills a disk unnoticed. */
const MAX_BLOB_BYTES = 16 * 1024 ** 3;

/** A manifest of 20,000 files, or a list of 100,000 frames. */
const MAX_BODY = '8mb';

/** Names, keys and a signature. Strangers may send it, so it is no larger than it has to be. */
const MAX_SIGN_IN_BODY = '4kb';

export function createApp(
  context: CoordinatorContext,
  scenes: Scenes,
  admissions: AdmissionLoop,
  readiness: Readiness,
  onProgress: () => void,
  signal: AbortSignal,
): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(observeRequests(context.metrics));
  app.use(observingRoutes(context, readiness));
  const person = requireCredential([context.secrets.apiKey]);
  const desk = new SignInDesk(context);
  const anyone = requireCredential([context.secrets.apiKey], (token) => desk.isBlobToken(token));
  const json = express.json({ limit: MAX_BODY });

  app.get(`${API_BASE}/blobs/:digest`, anyone, async (request, response) => {
    const digest = parseParameter(digestSchema, request, 'digest');
    const size = await context.blobs.size(digest);
    if (size === null) throw new FarmError('NOT_FOUND', `no blob ${digest}`);
    response.set({
      'content-type': 'application/octet-stream',
      'content-length': String(size),
      etag: `"${digest}"`,
    });
    // Express answers HEAD through the GET route.
    if (request.method === 'HEAD') return void response.end();
    // A client that goes away must not leave the file open; what it misses is its own concern.
    await pipeline(await context.blobs.read(digest), response).catch(() => response.destroy());
  });
  app.put(`${API_BASE}/blobs/:digest`, anyone, async (request, response) => {
    const digest = parseParameter(digestSchema, request, 'digest');
    const stored = await context.blobs.put(digest, request, MAX_BLOB_BYTES);
    sendJson(response, { digest, ...stored }, 201);
  });

  app.post(SIGN_IN_PATH, express.json({ limit: MAX_SIGN_IN_BODY }), async (request, response) => {
    sendJson(response, await desk.answer(parseBody(signInSchema, request)));
  });

  app.get(`${API_BASE}/farm`, person, (_request, response) => sendJson(response, farmInfo(context)));
  app.post(`${API_BASE}/scenes`, person, json, async (request, response) => {
    sendJson(response, await scenes.submit(parseBody(sceneManifestSchema, request), signal));
  });
  app.get(`${API_BASE}/scenes/:digest`, person, async (request, response) => {
    sendJson(response, await sceneManifest(context, parseParameter(digestSchema, request, 'digest')));
  });
  app.post(`${API_BASE}/inspections`, person, json, async (request, response) => {
    const asked = parseBody(jobRequestSchema, request);
    sendJson(response, await inspectJob(context, scenes, admissions, asked, signal));
  });
  app.post(`${API_BASE}/jobs`, person, json, async (request, response) => {
    const id = await submitJob(context, scenes, parseBody(jobRequestSchema, request), signal);
    onProgress();
    sendJson(response, await jobView(context, id), 201);
  });
  app.post(`${API_BASE}/quotes`, person, json, async (request, response) => {
    const asked = parseBody(quoteRequestSchema, request);
    sendJson(response, await quoteForWallet(context, scenes, asked, signal));
  });
  app.post(`${API_BASE}/quotes/:job/accept`, person, json, async (request, response) => {
    const id = parseParameter(jobIdSchema, request, 'job');
    await submitSigned(context, scenes, id, parseBody(signedJobSchema, request), signal);
    onProgress();
    sendJson(response, await jobView(context, id), 201);
  });
  app.get(`${API_BASE}/jobs`, person, async (request, response) => {
    const canaries = request.query['canaries'] === 'true';
    sendJson(response, await jobViews(context, { canaries }));
  });
  app.get(`${API_BASE}/jobs/:job`, person, async (request, response) => {
    sendJson(response, await jobView(context, parseParameter(jobIdSchema, request, 'job')));
  });
  app.get(`${API_BASE}/jobs/:job/why`, person, async (request, response) => {
    sendJson(response, await whyView(context, parseParameter(jobIdSchema, request, 'job')));
  });
  app.get(`${API_BASE}/jobs/:job/frames`, person, async (request, response) => {
    sendJson(response, await frameViews(context, parseParameter(jobIdSchema, request, 'job')));
  });
  app.get(`${API_BASE}/jobs/:job/frames/:frame`, person, async (request, response) => {
    const id = parseParameter(jobIdSchema, request, 'job');
    const frame = parseParameter(frameParameterSchema, request, 'frame');
    sendJson(response, await frameDetail(context, id, frame));
  });
  app.get(`${API_BASE}/jobs/:job/batches`, person, async (request, response) => {
    sendJson(response, await batchViews(context, parseParameter(jobIdSchema, request, 'job')));
  });
  app.get(`${API_BASE}/batches/:batch`, person, async (request, response) => {
    sendJson(response, await batchView(context, parseParameter(batchIdSchema, request, 'batch')));
  });
  app.post(`${API_BASE}/batches/:batch/dispute`, person, json, async (request, response) => {
    const id = parseParameter(batchIdSchema, request, 'batch');
    await disputeBatch(context, id, parseBody(disputeRequestSchema, request));
    onProgress();
    sendJson(response, await batchView(context, id));
  });
  app.get(`${API_BASE}/jobs/:job/batches/:batch/receipts`, person, async (request, response) => {
    const id = parseParameter(jobIdSchema, request, 'job');
    const batch = parseParameter(batchIdSchema, request, 'batch');
    sendJson(response, await receiptsOfBatch(context, id, batch));
  });
  app.get(`${API_BASE}/jobs/:job/events`, person, async (request, response) => {
    const id = parseParameter(jobIdSchema, request, 'job');
    await jobView(context, id);
    await streamJobEvents(context, id, request, response, signal);
  });
  app.post(`${API_BASE}/jobs/:job/cancel`, person, async (request, response) => {
    const id = parseParameter(jobIdSchema, request, 'job');
    await jobView(context, id);
    await context.db
      .transaction()
      .execute((tx) => endJob(context, tx, id, 'cancelled', 'cancelled on request'));
    onProgress();
    sendJson(response, await jobView(context, id));
  });
  app.post(`${API_BASE}/jobs/:job/block`, person, json, async (request, response) => {
    const id = parseParameter(jobIdSchema, request, 'job');
    await block(context, id, parseBody(blockSchema, request));
    onProgress();
    sendJson(response, await jobView(context, id));
  });
  app.post(`${API_BASE}/jobs/:job/unblock`, person, json, async (request, response) => {
    const id = parseParameter(jobIdSchema, request, 'job');
    await unblock(context, id, parseBody(unblockSchema, request));
    onProgress();
    sendJson(response, await jobView(context, id));
  });
  app.get(`${API_BASE}/nodes`, person, async (_request, response) =>
    sendJson(response, await nodeViews(context)),
  );
  app.get(`${API_BASE}/verifiers`, person, async (_request, response) =>
    sendJson(response, await verifierViews(context)),
  );
  app.put(`${API_BASE}/nodes/:node/pools`, person, json, async (request, response) => {
    const { pools } = parseBody(poolsSchema, request);
    await setPools(context, parseParameter(nodeIdSchema, request, 'node'), pools);
    onProgress();
    sendJson(response, { pools });
  });
  app.put(`${API_BASE}/accounts/:account`, person, json, async (request, response) => {
    const name = parseParameter(accountSchema, request, 'account');
    sendJson(response, await changeAccount(context, name, parseBody(accountChangeSchema, request)));
    onProgress();
  });
  app.get(`${API_BASE}/accounts/:account`, person, async (request, response) => {
    sendJson(response, await accountView(context, parseParameter(accountSchema, request, 'account')));
  });

  app.use((request, _response, next) =>
    next(new FarmError('NOT_FOUND', `there is no ${request.method} ${request.path}`)),
  );
  app.use(problemHandler(context.log));
  return app;
}

function farmInfo(context: CoordinatorContext): FarmInfo {
  const { engine } = context.runtime;
  return {
    name: 'tessera',
    version: packageVersion(),
    engine: engine.id,
    deviceClass: engine.deviceClass,
    chainId: context.chain.chainId,
    // The address of somebody's provider often holds their key to it.
    chainUrl: context.chain.chainId === EMBEDDED_CHAIN_ID ? context.config.chainUrl : null,
    escrow: context.chain.escrowAddress,
    token: context.chain.tokenAddress,
    registry: context.chain.registryAddress,
    deployedBlock: context.config.deployedBlock,
    verifiers: context.config.verifiers,
    tokenSymbol: 'TESS',
    tokenDecimals: 6,
  };
}
