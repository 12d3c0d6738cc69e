#!/usr/bin/env node
// The compiler as forge wants it: a program that answers --version and takes standard JSON on stdin. It is the npm
// package that contracts/build.ts uses, so nothing is downloaded and both compile alike.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const solc = createRequire(import.meta.url)('solc');
if (process.argv.includes('--version'))
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
else process.stdout.write(solc.compile(readFileSync(0, 'utf8')));
