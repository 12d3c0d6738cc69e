/** An honest renderer in the hands of a cheat: all that it takes to deliver something else under the same receipt. */
import { execFile } from 'node:child_process';
import { chmod, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type {
  CommandOptions,
  RenderCommand,
  RenderedTile,
  RenderRuntime,
  RenderSession,
  SceneFolder,
} from '../../platform/render/runtime.ts';
import { type PixelImage, pixelDigest, readRawPixels } from '../../proof/pixels.ts';
import type { Cheat } from './cheats.ts';
import { partly } from './pixels.ts';
import { exrBytes } from './write-exr.ts';

const run = promisify(execFile);

/** `blender`: the program that changes scenes, where the cheat wants that. */
export function cheatingRuntime(honest: RenderRuntime, cheat: Cheat, blender = 'blender'): RenderRuntime {
  return {
    engine: honest.engine,
    async open(scene, options) {
      const own = cheat.scene === undefined ? null : await changedScene(scene, cheat.scene, blender);
      try {
        const session = await honest.open(own ?? scene, options);
        if (own !== null) void session.closed.then(() => rm(own.root, { recursive: true, force: true }));
        return cheatingSession(session, cheat);
      } catch (error) {
        if (own !== null) await rm(own.root, { recursive: true, force: true });
        throw error;
      }
    },
  };
}

async function changedScene(
  { root, main }: SceneFolder,
  statements: string,
  blender: string,
): Promise<SceneFolder> {
  const own = await mkdtemp(join(tmpdir(), 'tessera-cheat-'));
  // A container is another user.
  await chmod(own, 0o755);
  await cp(root, own, { recursive: true });
  const path = join(own, main);
  const script = `import bpy\nscene = bpy.context.scene\n${statements}\nbpy.ops.wm.save_mainfile()`;
  await run(blender, [
    '-b',
    '--factory-startup',
    '--disable-autoexec',
    path,
    '--python-exit-code',
    '1',
    '--python-expr',
    script,
  ]);
  return { root: own, main };
}

function cheatingSession(session: RenderSession, cheat: Cheat): RenderSession {
  const asCheated = (command: RenderCommand): RenderCommand => ({
    ...command,
    frame: cheat.frame?.(command.frame) ?? command.frame,
    ...(cheat.samples !== undefined && { samples: cheat.samples(command.samples ?? 1) }),
  });
  const pixelsOf = async (exr: string, options: CommandOptions): Promise<PixelImage> => {
    const { rawPath } = await session.readPixels({ exr, output: `${exr}.raw` }, options);
    return readRawPixels(await readFile(rawPath));
  };
  const render = async (command: RenderCommand, options: CommandOptions): Promise<RenderedTile> => {
    if (cheat.only?.(command) === false) return await session.render(command, options);
    const tile = await session.render(asCheated(command), options);
    if (cheat.pixels === undefined && cheat.share === undefined) return tile;
    const rendered = await pixelsOf(tile.exrPath, options);
    let faked = cheat.pixels?.(rendered) ?? rendered;
    if (cheat.share !== undefined) {
      const honest = await session.render({ ...command, output: `${command.output}.honest.exr` }, options);
      faked = partly(faked, await pixelsOf(honest.exrPath, options), cheat.share);
    }
    await writeFile(tile.exrPath, exrBytes(faked));
    return { ...tile, pixelDigest: pixelDigest(faked) };
  };
  return {
    engine: session.engine,
    closed: session.closed,
    inspect: (options) => session.inspect(options),
    render,
    // The picture has to come from what is committed to, which is checked as well: so it is finished from the fake.
    async renderFrame({ region, samples, precision, exrCodec: _codec, ...outputs }, options) {
      const output = `${outputs.exrOutput}.tile.exr`;
      const command = { frame: outputs.frame, rect: region, samples, precision, output } as RenderCommand;
      const tile = await render(command, options);
      const finished = await session.finish(
        { ...outputs, region, tiles: [{ rect: region, path: output }] },
        options,
      );
      const { renderMs, peakMemoryBytes } = tile;
      return { ...finished, renderMs, peakMemoryBytes, samples: samples ?? tile.samples };
    },
    finish: (command, options) => session.finish(command, options),
    preview: (command, options) => session.preview(command, options),
    readPixels: (command, options) => session.readPixels(command, options),
    digestPixels: (exrs, options) => session.digestPixels(exrs, options),
    close: () => session.close(),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}
