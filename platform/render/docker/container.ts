/** One container from its creation to its removal. */
import { constants } from 'node:os';
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Container, ContainerCreateOptions } from 'dockerode';
import { pause } from '../../wait.ts';
import type { Exit, Launched } from '../session/launcher.ts';
import { Tail } from '../session/words.ts';
import { type DockerEngine, statusOf } from './connect.ts';
import { containerUsage, type Watched } from './container-usage.ts';

/** The last words are on their way when a container ends; a stream that stays open longer has none. */
const LAST_WORDS_MS = 1_000;

/**
 * Starts a container. It is removed when it ends, however it ends, and `exited` resolves after that. With `watched` the
 * host can ask what it holds: the kernel does not count files on disk that nobody sees, and says nothing when it
 * refuses a process.
 */
export function launchContainer(
  docker: DockerEngine,
  request: ContainerCreateOptions,
  watched?: Watched,
): Launched {
  const output = new Tail();
  let container: Container | undefined;
  let pid = 0;
  let killed = false;

  async function live(): Promise<Exit> {
    container = await docker.client.createContainer(request);
    try {
      const stream = await container.attach({ stream: true, stdout: true, stderr: true });
      const drained = readInto(docker, stream, output);
      if (!killed) await container.start();
      if (killed) return { code: null, signal: 'SIGKILL' };
      if (watched !== undefined) pid = (await container.inspect()).State.Pid;
      const { StatusCode } = (await container.wait()) as { StatusCode: number };
      await Promise.race([drained, pause(LAST_WORDS_MS, new AbortController().signal)]);
      const { State } = await container.inspect();
      return { ...exitOf(StatusCode), outOfMemory: !killed && State.OOMKilled };
    } finally {
      await remove(container);
    }
  }

  const exited = live().catch((error: unknown): Exit => {
    output.add(`${error instanceof Error ? error.message : String(error)}\n`);
    return { code: null, signal: null };
  });
  return {
    exited,
    output,
    usage: () =>
      watched === undefined || container === undefined || pid === 0
        ? undefined
        : containerUsage(container.id, pid, watched),
    kill() {
      if (killed) return;
      killed = true;
      // Not there yet, or not running any more: live() sees to it.
      container?.kill().catch(() => undefined);
    },
  };
}

/** Collects what the container prints; resolves at the end of it. */
function readInto(docker: DockerEngine, stream: NodeJS.ReadWriteStream, output: Tail): Promise<void> {
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      output.add(chunk.toString());
      done();
    },
  });
  docker.client.modem.demuxStream(stream, sink, sink);
  return finished(stream, { writable: false }).catch(() => undefined);
}

/** A process that a signal ended has 128 and the signal's number as its code. */
function exitOf(code: number): Exit {
  const signal = Object.entries(constants.signals).find(([, number]) => code === 128 + number)?.[0];
  return signal === undefined ? { code, signal: null } : { code: null, signal };
}

async function remove(container: Container): Promise<void> {
  await container.remove({ force: true, v: true }).catch((error: unknown) => {
    if (statusOf(error) !== 404 && statusOf(error) !== 409) throw error;
  });
}
