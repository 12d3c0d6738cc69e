/** What Tessera's engine images say about themselves, and how it is read back. Pure. */
import { z } from 'zod';

export const LABEL_ENGINE = 'org.tessera.engine';
export const LABEL_VERSION = 'org.tessera.blender-version';
/** Digest of what the image was made from: the same recipe is not built twice. */
export const LABEL_RECIPE = 'org.tessera.recipe';
/** Which GPUs the build in the image can use, `none` or for example `cuda,optix`. */
export const LABEL_GPU = 'org.tessera.gpu';

/** `docker images` shows images under this name. */
export const REPOSITORY = 'tessera/blender';

export type EngineImage = {
  /** `sha256:` and 64 hex digits. */
  id: string;
  /** For example `4.3.2`. */
  version: string;
  tags: string[];
  /** GPU kinds of the build; empty for CPU only. */
  gpu: string[];
  recipe: string | undefined;
  sizeBytes: number;
  createdAtMs: number;
};

/** As the Docker engine lists it. Labels are free text that anybody may set, so they are checked. */
export type ListedImage = {
  Id: string;
  RepoTags?: string[] | null;
  Labels?: Record<string, string> | null;
  Size: number;
  /** Seconds since 1970. */
  Created: number;
};

const versionSchema = z.string().regex(/^\d{1,3}\.\d{1,3}\.\d{1,3}$/);
const idSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/);

/** What an image is to Tessera; null when its labels do not make it an engine. */
export function engineImage(image: ListedImage): EngineImage | null {
  const labels = image.Labels ?? {};
  const version = versionSchema.safeParse(labels[LABEL_VERSION]);
  const id = idSchema.safeParse(image.Id);
  if (labels[LABEL_ENGINE] !== 'blender' || !version.success || !id.success) return null;
  const gpu = (labels[LABEL_GPU] ?? 'none').split(',').filter((kind) => kind !== '' && kind !== 'none');
  return {
    id: id.data,
    version: version.data,
    tags: (image.RepoTags ?? []).filter((tag) => tag !== '<none>:<none>'),
    gpu,
    recipe: labels[LABEL_RECIPE],
    sizeBytes: image.Size,
    createdAtMs: image.Created * 1_000,
  };
}

/**
 * Why this machine does not render with an image, or null when it does. A GPU build would render on the CPU as well,
 * but who made one wants the GPU, and learns here that it is not reached.
 */
export function whyLeftOut(image: Pick<EngineImage, 'gpu'>, givesGpus: boolean): string | null {
  if (image.gpu.length === 0 || givesGpus) return null;
  return 'it is a GPU build, and this Docker has no NVIDIA runtime (install nvidia-container-toolkit, then `nvidia-ctk runtime configure --runtime=docker` and restart Docker)';
}

/** 12 hex digits, as Docker itself shortens ids: enough to tell the images of a farm apart. */
const SHORT_DIGITS = 12;

/** The name of the engine in an image: its Blender and its bytes. */
export function engineIdOf(image: Pick<EngineImage, 'id' | 'version'>): string {
  return `blender-${image.version}@sha256:${image.id.slice('sha256:'.length, 'sha256:'.length + SHORT_DIGITS)}`;
}
