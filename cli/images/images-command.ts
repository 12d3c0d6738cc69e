/** `tessera images`: the engines that containers give. */
import { toJson } from '../../platform/json.ts';
import { connectDocker } from '../../platform/render/docker/connect.ts';
import { buildImage } from '../../platform/render/images/build.ts';
import { type EngineImage, engineIdOf, whyLeftOut } from '../../platform/render/images/labels.ts';
import { listImages } from '../../platform/render/images/list.ts';
import type { ImageSource } from '../../platform/render/images/recipe.ts';
import { ProgressLine } from '../progress-line.ts';
import type { Terminal } from '../terminal.ts';

export type BuildImagesOptions = {
  base?: string;
  suite: string;
  mirror: string;
  temp?: string;
  again?: boolean;
  json?: boolean;
};

export async function buildImagesCommand(options: BuildImagesOptions, terminal: Terminal): Promise<void> {
  const { signal } = terminal;
  const docker = await connectDocker({ signal });
  const source: ImageSource =
    options.base === undefined
      ? { kind: 'debootstrap', suite: options.suite, mirror: options.mirror }
      : { kind: 'base', image: options.base };
  const progress = new ProgressLine(terminal.err, terminal.now);
  const startedMs = terminal.now();
  const image = await buildImage(docker, source, {
    signal,
    tempFolder: options.temp,
    again: options.again === true,
    onProgress: (line) => progress.show(`${Math.round((terminal.now() - startedMs) / 1_000)} s  ${line}`),
  }).finally(() => progress.clear());
  if (options.json) return terminal.result(toJson({ image: described(image), built: image.built }));
  const how = image.built
    ? `built in ${Math.round((terminal.now() - startedMs) / 1_000)} s`
    : 'is there already';
  terminal.say(`${image.tags[0] ?? image.id} ${how}`);
  terminal.result(engineIdOf(image));
}

export async function listImagesCommand(options: { json?: boolean }, terminal: Terminal): Promise<void> {
  const { signal } = terminal;
  const docker = await connectDocker({ signal });
  const images = await listImages(docker, signal);
  const leftOut = (image: EngineImage) => whyLeftOut(image, docker.givesGpus);
  if (options.json) {
    const rows = images.map((image) => ({ ...described(image), leftOut: leftOut(image) }));
    return terminal.result(toJson({ images: rows }));
  }
  if (images.length === 0) terminal.say('no engine images yet; make one with: tessera images build');
  for (const image of images) {
    const gpu = image.gpu.length === 0 ? 'CPU' : image.gpu.join(',');
    const size = `${(image.sizeBytes / 2 ** 30).toFixed(1)} GiB`;
    terminal.result(`${engineIdOf(image)}  ${gpu.padEnd(6)} ${size}  ${image.tags.join(' ')}`);
    const why = leftOut(image);
    if (why !== null) terminal.result(`  not used: ${why}`);
  }
}

function described(image: EngineImage) {
  const { id, version, tags, gpu, sizeBytes, createdAtMs } = image;
  return { engine: engineIdOf(image), id, version, tags, gpu, sizeBytes, createdAtMs };
}
