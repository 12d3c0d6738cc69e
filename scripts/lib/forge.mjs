/** The forge program of this platform. Found through the packages' own files, so no install script is needed. */
import { createRequire } from 'node:module';

/** @returns {string} */
export function forgeBinary() {
  const system = process.platform;
  const name = `@foundry-rs/forge-${system}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
  const wrapper = createRequire(import.meta.url).resolve('@foundry-rs/forge/package.json');
  return createRequire(wrapper).resolve(`${name}/bin/forge${system === 'win32' ? '.exe' : ''}`);
}
