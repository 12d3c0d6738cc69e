/** Makes the CPU engine image, unless it is there. */
import { FarmError } from '../../../protocol/errors.ts';
import type { DockerEngine } from '../docker/connect.ts';
import { buildFromBase } from './build-from-base.ts';
import { buildFromPackages } from './build-from-packages.ts';
import type { BuildOptions } from './build-progress.ts';
import type { EngineImage } from './labels.ts';
import { listImages } from './list.ts';
import { type ImageSource, recipeDigest } from './recipe.ts';

export type BuiltImage = EngineImage & {
  /** False when it was there already. */
  built: boolean;
};

/** Until it is whole the image has no name; cut off, it leaves none. */
export async function buildImage(
  docker: DockerEngine,
  source: ImageSource,
  options: BuildOptions & { again?: boolean },
): Promise<BuiltImage> {
  const recipe = await recipeDigest(source);
  const there = (await listImages(docker, options.signal)).find((image) => image.recipe === recipe);
  if (there !== undefined && options.again !== true) return { ...there, built: false };
  const tag =
    source.kind === 'base'
      ? await buildFromBase(docker, source.image, recipe, options)
      : await buildFromPackages(docker, source, recipe, options);
  const made = (await listImages(docker, options.signal)).find((image) => image.tags.includes(tag));
  if (made === undefined) throw new FarmError('IMAGE_BUILD_FAILED', `${tag} was made and is not there`);
  return { ...made, built: true };
}
