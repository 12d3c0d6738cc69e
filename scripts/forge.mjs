/** `npm run test:contracts`: the forge tests with the full figures (foundry.toml); what follows goes to forge. Minutes. */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { forgeBinary } from './lib/forge.mjs';

const parameters = ['test', ...process.argv.slice(2)];
const env = { FOUNDRY_PROFILE: 'full', ...process.env };
const cwd = join(dirname(fileURLToPath(import.meta.url)), '..');
spawn(forgeBinary(), parameters, { cwd, env, stdio: 'inherit' }).once('exit', (code) => {
  process.exitCode = code ?? 1;
});
