/** Removes the containers that a dead program of ours left running. */
import { type DockerEngine, statusOf } from './connect.ts';
import { LABEL_OWNER, ownerIsGone, ownNamespace } from './owner.ts';

/** Returns how many were removed. Containers of programs that live, and those of others, are left alone. */
export async function sweepContainers(docker: DockerEngine, signal: AbortSignal): Promise<number> {
  const namespace = await ownNamespace();
  const ours = await docker.client.listContainers({
    all: true,
    filters: { label: [LABEL_OWNER] },
    abortSignal: signal,
  });
  let removed = 0;
  for (const { Id, Labels } of ours) {
    if (!(await ownerIsGone(Labels, namespace))) continue;
    try {
      await docker.client.getContainer(Id).remove({ force: true, v: true });
      removed += 1;
    } catch (error) {
      // 404: gone already; 409: another program that starts is removing it.
      if (statusOf(error) !== 404 && statusOf(error) !== 409) throw error;
    }
  }
  return removed;
}
