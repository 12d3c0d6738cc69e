/**
 * A node that throws away the EXRs that it promises to keep: it saves the disk, and hopes that its word and a picture
 * are enough. Without the EXR nobody can tell what the picture was made of.
 */
import { rm } from 'node:fs/promises';
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import { workerFileSchema } from '../../worker/config.ts';
import { KeptFiles } from '../../worker/kept-files.ts';
import { runWorker } from '../../worker/run.ts';

KeptFiles.prototype.keep = async (_digest, path) => {
  await rm(path);
};

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(workerFileSchema, process.argv[2]);
  await runWorker(config, secrets, life);
});
