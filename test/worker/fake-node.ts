/** A node without network and renderer: it talks to a real coordinator's functions, and its pixels are made up. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NatsConnection } from 'nats';
import { completeTasks } from '../../coordinator/scheduling/complete-tasks.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { extendLeases } from '../../coordinator/scheduling/heartbeat.ts';
import { JobTerms, runsOf } from '../../coordinator/scheduling/lease-run.ts';
import { digestBytes, digestFile } from '../../platform/blobs/digest-file.ts';
import { escrowDomain } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { Mutex } from '../../platform/mutex.ts';
import type { BoundDevice } from '../../platform/render/device-choice.ts';
import type { RenderRuntime, RenderSession, SessionEnd } from '../../platform/render/runtime.ts';
import { SessionPool } from '../../platform/render/session-pool.ts';
import { errorCodeOf, FarmError, toFarmError } from '../../protocol/errors.ts';
import {
  type LeaseGrant,
  type LeaseReply,
  type LeaseRequest,
  NODE_EXCHANGES,
} from '../../protocol/messages.ts';
import { Deliveries } from '../../worker/deliveries.ts';
import { HeldLeases } from '../../worker/held-leases.ts';
import { KeptFiles } from '../../worker/kept-files.ts';
import type { Node } from '../../worker/node.ts';
import { ReceiptJournal } from '../../worker/receipt-journal.ts';
import { giveTo } from '../coordinator/delivery.ts';
import {
  DEVICE_CLASS,
  ENGINE,
  type TaskRow,
  type TestCoordinator,
  type TestNode,
} from '../support/coordinator-context.ts';

/** What the network does to a question: `lose` takes it to the coordinator and loses the answer. */
export type Network = (verb: string) => 'pass' | 'lose' | 'drop';

export class FakeRenderer {
  /** How many renderers were started. */
  opened = 0;
  /** Frames that a renderer has begun, in order. */
  readonly begun: number[] = [];
  /** A render waits for this; it is stopped when its signal aborts. */
  hold: (frame: number) => Promise<void> = async () => undefined;

  readonly runtime: RenderRuntime;

  /** On this GPU, or on the CPU. */
  constructor(device?: BoundDevice) {
    const engine = { id: ENGINE, version: '3.4.1', deviceClass: DEVICE_CLASS, runtime: 'process' as const };
    this.runtime = {
      engine: device === undefined ? engine : { ...engine, deviceClass: device.deviceClass, device },
      open: async () => {
        this.opened += 1;
        return this.#session();
      },
    };
  }

  #session(): RenderSession {
    let end: SessionEnd | undefined;
    let settle: (end: SessionEnd) => void = () => undefined;
    const closed = new Promise<SessionEnd>((resolve) => {
      settle = resolve;
    });
    const ending = (reason: SessionEnd['reason']): void => {
      if (end !== undefined) return;
      end = { reason, message: 'over' };
      const over = end;
      // As with a process: it is told to end now, and is gone a little later.
      setImmediate(() => setImmediate(() => settle(over)));
    };
    const draw = async (frame: number, paths: string[], signal: AbortSignal) => {
      if (end !== undefined) throw new FarmError('INTERRUPTED', `the renderer was ended: ${end.reason}`);
      this.begun.push(frame);
      const commandOver = new AbortController();
      const stopped = new Promise<never>((_resolve, reject) => {
        const stop = (): void => {
          ending('aborted');
          reject(new FarmError('INTERRUPTED', 'stopped'));
        };
        if (signal.aborted) stop();
        signal.addEventListener('abort', stop, { once: true, signal: commandOver.signal });
      });
      // An abort after the command does not end the session.
      await Promise.race([this.hold(frame), stopped]).finally(() => commandOver.abort());
      for (const path of paths) await writeFile(path, `${path.slice(-3)} of frame ${frame}`);
      return { pixelDigest: digestBytes(Buffer.from(`pixels ${frame}`)), peakMemoryBytes: 1, samples: 16 };
    };
    const session: Partial<RenderSession> = {
      engine: this.runtime.engine,
      closed,
      render: async ({ frame, output }, { signal }) => ({
        ...(await draw(frame, [output], signal)),
        exrPath: output,
        renderMs: 1,
      }),
      finish: async ({ frame, exrOutput, pictureOutput }, { signal }) => ({
        ...(await draw(frame, [exrOutput, pictureOutput], signal)),
        ...{
          exrPath: exrOutput,
          picturePath: pictureOutput,
          width: 32,
          height: 32,
          finishMs: 1,
          extraFiles: [],
        },
      }),
      renderFrame: async ({ frame, exrOutput, pictureOutput }, { signal }) => ({
        ...(await draw(frame, [exrOutput, pictureOutput], signal)),
        ...{ exrPath: exrOutput, picturePath: pictureOutput, width: 32, height: 32, extraFiles: [] },
        ...{ finishMs: 1, renderMs: 2 },
      }),
      close: async () => {
        ending('closed');
        await closed;
      },
    };
    return session as RenderSession;
  }
}

export type FakeNode = {
  node: Node;
  /** The same node as the coordinator knows it. */
  known: TestNode;
  renderer: FakeRenderer;
  /** Every question that the node has asked. */
  asked: string[];
  /** How the next questions fare. */
  setNetwork(network: Network): void;
  /** Answers questions for a lease; nobody does by itself. */
  onLease: (request: LeaseRequest) => Promise<LeaseReply>;
  /** Another start of the same node: it has its journal and remembers no batch. */
  restart(holdMs?: number): Promise<void>;
  /** The node leases exactly this task. */
  grant(task: TaskRow): Promise<LeaseGrant>;
};

export async function fakeNode(farm: TestCoordinator, dataFolder: string): Promise<FakeNode> {
  const { context } = farm;
  const known = await farm.addNode();
  const renderer = new FakeRenderer();
  const asked: string[] = [];
  let network: Network = () => 'pass';
  const answer = async (verb: string, message: unknown): Promise<unknown> => {
    if (verb === 'complete') {
      const complete = NODE_EXCHANGES.complete.request.parse(message);
      const { moved, lost } = await completeTasks(context, known.id, complete);
      return { moved, lost };
    }
    if (verb === 'heartbeat') {
      const { leases } = NODE_EXCHANGES.heartbeat.request.parse(message);
      return { lost: await extendLeases(context, known.id, leases) };
    }
    if (verb === 'lease') return await fake.onLease(NODE_EXCHANGES.lease.request.parse(message));
    if (verb !== 'fail') throw new Error(`nobody answers ${verb} here`);
    await failTask(context, known.id, NODE_EXCHANGES.fail.request.parse(message));
    return {};
  };
  const request = async (subject: string, payload: string): Promise<{ json: () => unknown }> => {
    const verb = subject.split('.')[2] ?? '';
    asked.push(verb);
    const fate = network(verb);
    if (fate === 'drop') throw new Error('no responders');
    let envelope: unknown;
    try {
      envelope = { ok: true, value: await answer(verb, JSON.parse(payload)) };
    } catch (error) {
      const { code, message } = toFarmError(error);
      envelope = { ok: false, code: errorCodeOf(code), message };
    }
    if (fate === 'lose') throw new Error('timeout');
    return { json: () => JSON.parse(toJson(envelope)) };
  };
  const blobs = {
    putFile: async (path: string) => {
      await context.blobs.putBytes(await readFile(path));
      return { ...(await digestFile(path)), sent: true };
    },
  };
  const nats = { request } as unknown as NatsConnection;
  const deliveries = async (holdMs?: number): Promise<Deliveries> =>
    new Deliveries({
      nodeId: known.id,
      key: known.key,
      domain: escrowDomain(context.chain.chainId, context.chain.escrowAddress),
      nats,
      journal: await ReceiptJournal.open(join(dataFolder, 'receipts.log')),
      signal: new AbortController().signal,
      holdMs,
    });
  const node: Node = {
    config: {
      nodeId: known.id,
      dataFolder,
      natsUrl: 'nats://127.0.0.1:1',
      apiUrl: 'http://127.0.0.1:1',
      runtime: 'process',
      threads: 1,
      logLevel: 'silent',
    },
    key: known.key,
    nats,
    blobs: blobs as unknown as Node['blobs'],
    scenes: { folderOf: async () => ({ root: dataFolder, main: 'a.blend' }) } as unknown as Node['scenes'],
    device: undefined,
    engines: [renderer.runtime],
    sessions: new SessionPool(),
    turn: new Mutex(),
    last: null,
    leases: new HeldLeases({ nodeId: known.id, nats, heartbeatMs: 50, log: context.log }),
    deliveries: await deliveries(),
    kept: await KeptFiles.open(join(dataFolder, 'kept')),
    log: context.log,
  };
  const fake: FakeNode = {
    node,
    known,
    renderer,
    asked,
    onLease: () => Promise.reject(new Error('nobody gives leases here')),
    setNetwork: (next) => {
      network = next;
    },
    restart: async (holdMs) => {
      node.deliveries = await deliveries(holdMs);
    },
    grant: async (task) => {
      const leased = await giveTo(farm, known, task);
      const claimed = [{ tasks: [leased], address: known.address }];
      const [given] = await runsOf(farm.db, new JobTerms(farm.db), claimed, new Date(farm.clock.now()));
      if (given === undefined) throw new Error('nothing was given');
      const { tasks, ...run } = given;
      const [own] = tasks;
      if (own === undefined) throw new Error('a run of no task');
      return { ...run, ...own };
    },
  };
  return fake;
}
