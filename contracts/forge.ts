/** `npm run test:contracts`: the forge tests with the full figures of foundry.toml; what follows goes to forge. Minutes. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The forge program of this platform. Found through the packages' own files, so no install script is needed. */
export function forgeBinary(): string {
  const system = process.platform;
  const name = `@foundry-rs/forge-${system}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
  const wrapper = createRequire(import.meta.url).resolve('@foundry-rs/forge/package.json');
  return createRequire(wrapper).resolve(`${name}/bin/forge${system === 'win32' ? '.exe' : ''}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const parameters = ['test', ...process.argv.slice(2)];
  const env = { FOUNDRY_PROFILE: 'full', ...process.env };
  const cwd = join(dirname(fileURLToPath(import.meta.url)), '..');
  spawn(forgeBinary(), parameters, { cwd, env, stdio: 'inherit' }).once('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}
