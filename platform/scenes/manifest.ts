/** A scene's name: the digest of its manifest in one fixed spelling. */
import type { Digest } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import { digestBytes } from '../blobs/digest-file.ts';

/** Files sorted by path, fields in one order, no white space: two equal scenes give one digest. */
export function sceneDigest(manifest: SceneManifest): Digest {
  const files = [...manifest.files]
    .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
    .map(({ path, digest, sizeBytes }) => ({ path, digest, sizeBytes }));
  return digestBytes(JSON.stringify({ main: manifest.main, files }));
}
