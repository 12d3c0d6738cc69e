/**
 * Completes package-lock.json with the packages of other platforms.
 *
 * A registry mirror may not carry, say, the Android build of a tool. npm then leaves it out of the lock file, and
 * `npm ci` refuses the file everywhere, although nothing that is installed is missing. This adds an entry with the
 * version, system and processor for each; where that platform is in use, npm fetches it by name and version.
 * Run after every change of dependencies: `npm install && node scripts/complete-lock.mjs`.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'];
const PROCESSORS = {
  amd64: 'x64',
  x64: 'x64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: 'ia32',
  ppc64: 'ppc64',
  riscv64: 'riscv64',
  s390x: 's390x',
};
const LIBRARIES = { gnu: 'glibc', musl: 'musl' };

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
let added = 0;
for (const [path, entry] of Object.entries({ ...lock.packages })) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = `${path === '' ? '' : `${path}/`}node_modules/${name}`;
    const flat = `node_modules/${name}`;
    if (lock.packages[nested] !== undefined || lock.packages[flat] !== undefined) continue;
    const words = name.split('/').pop().split(/[-.]/);
    const system = words.find((word) => SYSTEMS.includes(word));
    const processor = words.map((word) => PROCESSORS[word]).find((one) => one !== undefined);
    if (system === undefined || processor === undefined || !/^\d/.test(version)) {
      process.stderr.write(`no entry for ${name}@${version}: its platform cannot be told from its name\n`);
      process.exitCode = 1;
      continue;
    }
    const library =
      system === 'linux' ? words.map((word) => LIBRARIES[word]).find((one) => one !== undefined) : undefined;
    lock.packages[flat] = {
      version,
      cpu: [processor],
      ...(entry.dev ? { dev: true } : {}),
      ...(library === undefined ? {} : { libc: [library] }),
      optional: true,
      os: [system],
    };
    added++;
  }
}
lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
);
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added} entries added\n`);
