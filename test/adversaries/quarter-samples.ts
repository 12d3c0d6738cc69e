/**
 * A node that renders a quarter of the samples and claims all of them: the cheat that pays best for its effort, and
 * that a perceptual hash does not see.
 */
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import type { RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import { workerFileSchema } from '../../worker/config.ts';
import { runWorker } from '../../worker/run.ts';

function quarterSamples(honest: RenderRuntime): RenderRuntime {
  return {
    engine: honest.engine,
    async open(scene, options) {
      const session = await honest.open(scene, options);
      const quarter = (samples = 4) => Math.max(1, Math.floor(samples / 4));
      const cheating: RenderSession = {
        engine: session.engine,
        closed: session.closed,
        inspect: (commandOptions) => session.inspect(commandOptions),
        render: (command, commandOptions) =>
          session.render({ ...command, samples: quarter(command.samples) }, commandOptions),
        renderFrame: (command, commandOptions) =>
          session.renderFrame({ ...command, samples: quarter(command.samples) }, commandOptions),
        finish: (command, commandOptions) => session.finish(command, commandOptions),
        preview: (command, commandOptions) => session.preview(command, commandOptions),
        readPixels: (command, commandOptions) => session.readPixels(command, commandOptions),
        close: () => session.close(),
        [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
      };
      return cheating;
    },
  };
}

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(workerFileSchema, process.argv[2]);
  await runWorker(config, secrets, life, quarterSamples);
});
