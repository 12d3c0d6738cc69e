/** The benchmark's hold on the process that plays the nodes. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { DriverCounts, DriverSetUp, FromDriver, Load, ToDriver } from './driver-messages.ts';

export type Driver = AsyncDisposable & {
  readonly pid: number;
  load(load: Load): void;
  /** Resolves when no node is at work any more. */
  stop(): Promise<void>;
  counts(): Promise<DriverCounts>;
};

export async function startDriver(setUp: DriverSetUp): Promise<Driver> {
  const source = import.meta.url.endsWith('.ts');
  const entry = fileURLToPath(new URL(source ? './driver.ts' : './driver.js', import.meta.url));
  const child = fork(entry, [], { execArgv: source ? ['--import', import.meta.resolve('tsx')] : [] });
  const send = (message: ToDriver): void => void child.send(message);
  send({ type: 'set-up', setUp });
  await answer(child, 'ready');
  return {
    pid: child.pid ?? 0,
    load: (load) => send({ type: 'load', load }),
    async stop() {
      send({ type: 'stop' });
      await answer(child, 'stopped');
    },
    async counts() {
      send({ type: 'counts' });
      return (await answer(child, 'counts')).counts;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

function answer<T extends FromDriver['type']>(
  child: ChildProcess,
  type: T,
): Promise<FromDriver & { type: T }> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`the driver ended with ${code}`));
    const listen = (message: FromDriver): void => {
      if (message.type !== type) return;
      child.off('message', listen);
      child.off('exit', ended);
      resolve(message as FromDriver & { type: T });
    };
    child.on('message', listen);
    child.once('exit', ended);
  });
}
