/** A render session of numbers: everything the port promises, and no picture of anything. */
import { crop, type PixelImage, pixelDigest } from '../../../proof/pixels.ts';
import { FarmError, isFarmError } from '../../../protocol/errors.ts';
import type { OutputSettings } from '../../../protocol/output.ts';
import type { Rect } from '../../../protocol/rect.ts';
import type {
  CommandOptions,
  DecodedPixels,
  EngineInfo,
  FinishCommand,
  FinishedFrame,
  FrameCommand,
  PixelsOfFile,
  PreviewCommand,
  PreviewPicture,
  ReadPixelsCommand,
  RenderCommand,
  RenderedFrame,
  RenderedTile,
  RenderSession,
  SceneInspection,
} from '../runtime.ts';
import { requireSampleOffset } from '../sample-range.ts';
import { readImage, writeImage, writePicture } from './files.ts';
import { describeScene } from './inspection.ts';
import { isInside, mergeTiles, shown } from './merge.ts';
import { makePixels } from './pixels.ts';
import type { LoadedScene } from './scene.ts';
import { type Turn, Turns } from './turns.ts';

type FrameFiles = Pick<FinishCommand, 'region' | 'picture' | 'output' | 'exrOutput' | 'pictureOutput'>;

export class SyntheticSession implements RenderSession {
  readonly engine: EngineInfo;
  readonly #scene: LoadedScene;
  readonly #turns = new Turns();
  readonly closed = this.#turns.closed;

  constructor(engine: EngineInfo, scene: LoadedScene) {
    this.engine = engine;
    this.#scene = scene;
  }

  inspect(options: CommandOptions): Promise<SceneInspection> {
    return this.#turns.run(options, async () => describeScene(this.#scene));
  }

  render(command: RenderCommand, options: CommandOptions): Promise<RenderedTile> {
    return this.#turns.run(options, async (turn) => {
      const { image, ...numbers } = await this.#make(command, command.rect, turn);
      await writeImage(command.output, image);
      return { exrPath: command.output, pixelDigest: pixelDigest(image), ...numbers };
    });
  }

  finish(command: FinishCommand, options: CommandOptions): Promise<FinishedFrame> {
    return this.#turns.run(options, async (turn) => {
      const startMs = performance.now();
      this.#requireInside(command.region);
      const image = await mergeTiles(command.region, command.tiles, turn.step);
      return await this.#writeFrame(command, image, startMs);
    });
  }

  renderFrame(command: FrameCommand, options: CommandOptions): Promise<RenderedFrame> {
    return this.#turns.run(options, async (turn) => {
      const { image, ...numbers } = await this.#make(command, command.region, turn);
      return { ...(await this.#writeFrame(command, image, performance.now())), ...numbers };
    });
  }

  preview(command: PreviewCommand, options: CommandOptions): Promise<PreviewPicture> {
    return this.#turns.run(options, async (turn) => {
      const { longSide, output } = command;
      const { resolution } = this.#scene;
      if (!Number.isInteger(longSide) || longSide < 1)
        throw new FarmError('MESSAGE_INVALID', `a preview of ${longSide} pixels`);
      const scale = Math.min(1, longSide / Math.max(resolution.width, resolution.height));
      const side = (pixels: number): number => Math.max(1, Math.round(pixels * scale));
      const [width, height] = [side(resolution.width), side(resolution.height)];
      const rect = { x: 0, y: 0, width, height };
      const { image, renderMs } = await this.#make(command, rect, turn);
      await writePicture(output, image, rect, rect);
      return { picturePath: output, width, height, renderMs };
    });
  }

  readPixels(command: ReadPixelsCommand, options: CommandOptions): Promise<DecodedPixels> {
    return this.#turns.run(options, async () => {
      const whole = await readImage(command.exr);
      const part = command.crop === undefined ? whole : crop(whole, command.crop);
      await writeImage(command.output, part);
      return {
        width: part.width,
        height: part.height,
        channels: [...part.channels],
        pixelDigest: pixelDigest(whole),
        rawPath: command.output,
      };
    });
  }

  digestPixels(exrs: readonly string[], options: CommandOptions): Promise<(PixelsOfFile | FarmError)[]> {
    return this.#turns.run(options, async () => {
      const files: (PixelsOfFile | FarmError)[] = [];
      for (const exr of exrs) {
        const found = await readImage(exr).catch((error: unknown) => {
          if (!isFarmError(error)) throw error;
          return error;
        });
        if (found instanceof FarmError) files.push(found);
        else {
          const { width, height, channels } = found;
          files.push({ width, height, channels: [...channels], pixelDigest: pixelDigest(found) });
        }
      }
      return files;
    });
  }

  async close(): Promise<void> {
    this.#turns.end({ reason: 'closed', message: 'it was closed' });
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #make(
    {
      frame,
      samples = this.#scene.samples,
      sampleOffset = 0,
      precision = 'float',
    }: Omit<RenderCommand, 'rect' | 'output'>,
    rect: Rect,
    turn: Turn,
  ): Promise<Pick<RenderedTile, 'renderMs' | 'peakMemoryBytes' | 'samples'> & { image: PixelImage }> {
    const startMs = performance.now();
    this.#requireInside(rect);
    requireSampleOffset(sampleOffset);
    await turn.wait(this.#scene.durationMs);
    const source = { scene: this.#scene, frame, samples, sampleOffset, precision };
    const image = await makePixels(source, rect, turn.step);
    return {
      image,
      renderMs: performance.now() - startMs,
      peakMemoryBytes: image.data.byteLength,
      samples,
    };
  }

  async #writeFrame(command: FrameFiles, image: PixelImage, startMs: number): Promise<FinishedFrame> {
    const { region, picture = region, output, exrOutput, pictureOutput } = command;
    this.#requireInside(picture);
    if (!isInside(region, picture))
      throw new FarmError('MESSAGE_INVALID', `${shown(region)} is not inside the picture ${shown(picture)}`);
    requirePng(output);
    await writeImage(exrOutput, image);
    await writePicture(pictureOutput, image, region, picture);
    return {
      exrPath: exrOutput,
      picturePath: pictureOutput,
      pixelDigest: pixelDigest(image),
      width: picture.width,
      height: picture.height,
      finishMs: performance.now() - startMs,
      extraFiles: [],
    };
  }

  #requireInside(rect: Rect): void {
    const { resolution } = this.#scene;
    if (isInside(rect, { x: 0, y: 0, ...resolution })) return;
    const frame = `${resolution.width} x ${resolution.height}`;
    throw new FarmError('MESSAGE_INVALID', `${shown(rect)} is not inside the frame of ${frame}`);
  }
}

/** Depth and colour mode are not honoured: nobody looks at these pictures. Another format would not be decoded. */
function requirePng(output: OutputSettings | undefined): void {
  if (output === undefined || output.format === 'scene' || output.format === 'png') return;
  throw new FarmError('OUTPUT_INVALID', `the synthetic renderer writes png, not ${output.format}`);
}
