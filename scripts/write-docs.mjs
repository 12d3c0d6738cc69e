/** Writes the pages that are made from the code: docs/errors.md and docs/states.md. Run after `npm run build`. */
import { writeFileSync } from 'node:fs';
import { MACHINES } from '../dist/coordinator/states/all.js';
import { statesPage } from '../dist/coordinator/states/page.js';
import { ERRORS } from '../dist/protocol/errors.js';

const rows = Object.entries(ERRORS).map(
  ([code, { httpStatus, exitCode, retryable, help }]) =>
    `## ${code}\n\nHTTP ${httpStatus} · exit code ${exitCode} · ${retryable ? 'can be tried again unchanged' : 'the same request fails again'}\n\n${help}\n`,
);
const head = `# Errors

Made from \`protocol/errors.ts\` by \`node scripts/write-docs.mjs\`. Every error of the API (problem+json) and of the
command line (\`--json\`: \`error.code\`) has one of these codes; scripts can rely on them.

Exit codes: 2 the command line, 3 the scene, 4 this machine, 5 the farm, 6 money, 7 the render failed, 70 our mistake,
130 interrupted.
`;
writeFileSync('docs/errors.md', `${head}\n${rows.join('\n')}`);
writeFileSync('docs/states.md', statesPage(MACHINES));
