/** Whose a container is, in its labels; enough to tell, after a crash, that its owner is gone. */
import { readFile, readlink } from 'node:fs/promises';
import { startedAt } from '../../process/process-record.ts';

export const LABEL_OWNER = 'org.tessera.owner';
const LABEL_PID = 'org.tessera.owner-pid';
const LABEL_STARTED = 'org.tessera.owner-started';
/** Pids mean something within one namespace of one boot only. */
const LABEL_NAMESPACE = 'org.tessera.owner-namespace';

/** The labels of this process. `owner` is the folder it works in, for people who look at `docker ps`. */
export async function ownerLabels(owner: string): Promise<Record<string, string>> {
  return {
    [LABEL_OWNER]: owner,
    [LABEL_PID]: String(process.pid),
    [LABEL_STARTED]: (await startedAt(process.pid)) ?? 'unknown',
    [LABEL_NAMESPACE]: await ownNamespace(),
  };
}

/** The boot and the pid namespace that this process lives in. */
export async function ownNamespace(): Promise<string> {
  const [boot, namespace] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => 'unknown'),
    readlink('/proc/self/ns/pid').catch(() => 'unknown'),
  ]);
  return `${boot.trim()} ${namespace}`;
}

/**
 * Whether the owner named by these labels is certainly gone. Where that cannot be told, because it lived in another
 * pid namespace or the labels are not whole, it is not.
 */
export async function ownerIsGone(
  labels: Record<string, string>,
  namespace: string,
  startOf: (pid: number) => Promise<string | null> = startedAt,
): Promise<boolean> {
  const pid = Number(labels[LABEL_PID]);
  const started = labels[LABEL_STARTED];
  if (!Number.isSafeInteger(pid) || pid < 1 || started === undefined || started === 'unknown') return false;
  if (labels[LABEL_NAMESPACE] !== namespace || namespace.includes('unknown')) return false;
  return (await startOf(pid)) !== started;
}
