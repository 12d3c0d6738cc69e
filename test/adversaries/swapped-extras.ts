/**
 * A node that delivers an honest picture, and beside it, for every PNG of a File Output node, one of a single colour: what
 * only the scene's author looks at, days later, is the easiest to save on.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import sharp from 'sharp';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import { workerFileSchema } from '../../worker/config.ts';
import { runWorker } from '../../worker/run.ts';

const putFile = HttpBlobs.prototype.putFile;

HttpBlobs.prototype.putFile = async function (path, signal) {
  if (basename(dirname(path)) === 'extra') {
    const bytes = await readFile(path);
    // The other files are EXRs.
    const { width, height } = await sharp(bytes)
      .metadata()
      .catch(() => ({ width: 0, height: 0 }));
    const grey = { width, height, channels: 4 as const, background: { r: 90, g: 90, b: 90, alpha: 1 } };
    if (width > 0) await writeFile(path, await sharp({ create: grey }).png().toBuffer());
  }
  return await putFile.call(this, path, signal);
};

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(workerFileSchema, process.argv[2]);
  await runWorker(config, secrets, life);
});
