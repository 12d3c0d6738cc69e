/** The engine images that this machine's Docker has. */
import type { DockerEngine } from '../docker/connect.ts';
import { type EngineImage, engineImage, LABEL_ENGINE, type ListedImage } from './labels.ts';

/** Newest Blender first; of two with the same Blender the one made last. */
export async function listImages(docker: DockerEngine, signal: AbortSignal): Promise<EngineImage[]> {
  const listed: ListedImage[] = await docker.client.listImages({
    filters: { label: [LABEL_ENGINE] },
    abortSignal: signal,
  });
  const images = listed.map(engineImage).filter((image) => image !== null);
  return images.sort((a, b) => compareVersions(b.version, a.version) || b.createdAtMs - a.createdAtMs);
}

/** Below 0 when `a` is the older version. Both are three numbers. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let index = 0; index < 3; index++) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
