/**
 * Which room may import from which (design, section 3): protocol <- proof <- platform <- the four programs.
 * Checked by test/architecture and by `npm run check`.
 */
const PROGRAMS = ['coordinator', 'worker', 'verifier', 'cli'];

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'protocol-imports-nothing-of-ours',
      comment: 'The protocol is what all parties agree on; it stands alone.',
      severity: 'error',
      from: { path: '^protocol/' },
      to: { path: '^(proof|platform|coordinator|worker|verifier|cli|web|contracts|test|bench|scripts)/' },
    },
    {
      name: 'proof-is-pure',
      comment:
        'proof-of-render knows the protocol only, so that anybody can check a tile with it, a browser too.',
      severity: 'error',
      from: { path: '^proof/' },
      to: { path: '^(platform|coordinator|worker|verifier|cli|web|contracts|test|bench|scripts)/' },
    },
    {
      name: 'proof-touches-no-system',
      comment: 'No file, no socket, no clock in proof: it decides over plain data.',
      severity: 'error',
      from: { path: '^proof/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'platform-knows-no-program',
      comment: 'Adapters serve the programs and know none of them.',
      severity: 'error',
      from: { path: '^platform/' },
      to: { path: '^(coordinator|worker|verifier|cli|web|test|bench|scripts)/' },
    },
    {
      name: 'programs-do-not-import-each-other',
      comment:
        'They talk over messages. Only cli/farm, which starts them, may know the types of their configurations.',
      severity: 'error',
      from: { path: `^(${PROGRAMS.join('|')})/` },
      to: {
        path: `^(${PROGRAMS.join('|')})/`,
        // $1 is the room of the importing file.
        pathNot: ['^$1/', '^(coordinator|verifier|worker)/config\\.ts$'],
      },
    },
    {
      name: 'configurations-only-as-types',
      comment:
        'See programs-do-not-import-each-other: a type is erased, a value would tie two programs together.',
      severity: 'error',
      from: { path: '^cli/farm/' },
      to: { path: '^(coordinator|verifier|worker)/config\\.ts$', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'configurations-only-in-cli-farm',
      comment: 'See programs-do-not-import-each-other.',
      severity: 'error',
      from: { path: `^(${PROGRAMS.join('|')})/`, pathNot: '^cli/farm/' },
      to: { path: '^(coordinator|verifier|worker)/config\\.ts$', pathNot: '^$1/' },
    },
    {
      name: 'nats-only-in-platform-nats',
      comment: 'Its types may go further; its values stay behind the adapter.',
      severity: 'error',
      from: { pathNot: '^(platform/nats/|test/|bench/)' },
      to: {
        path: '(^|/)node_modules/(nats|nats-jwt|nkeys\\.js)/|^(nats|nats-jwt|nkeys\\.js)$',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'ethers-only-in-platform-chain',
      comment: 'The programs see the chain through its port. proof hashes with it, as the contract does.',
      severity: 'error',
      from: { pathNot: '^(platform/chain/|proof/|contracts/|test/|bench/)' },
      to: { path: '(^|/)node_modules/ethers/|^ethers(/|$)' },
    },
    {
      name: 'no-cycles',
      comment: 'Two files that need each other are one file, or lack a third.',
      severity: 'error',
      from: { pathNot: '^(test|bench)/' },
      to: { circular: true },
    },
    {
      name: 'no-tests-in-the-product',
      comment: 'Nothing that is shipped leans on test code; the demo plays the adversaries and names them.',
      severity: 'error',
      from: { pathNot: '^(test|bench)/' },
      to: { path: '^(test|bench)/', pathNot: ['^test/adversaries/'] },
    },
    {
      name: 'adversaries-only-in-the-demo',
      comment: 'See no-tests-in-the-product.',
      severity: 'error',
      from: { pathNot: '^(test|bench|demo)/' },
      to: { path: '^test/adversaries/' },
    },
    {
      name: 'nothing-unresolvable',
      comment: 'A misspelt path or a package that is not in package.json.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Imports that TypeScript erases count, too: they are how a type leads to a value later.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
