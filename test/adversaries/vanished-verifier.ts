/** A verifier that has joined, is drawn and asked like any other, and never answers: its machine is off, or it would rather not. */
import { runProgram } from '../../platform/process/run-program.ts';
import { aborted } from '../../platform/wait.ts';

await runProgram(async (life) => {
  life.ready();
  await aborted(life.signal);
});
