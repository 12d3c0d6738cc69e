/**
 * Files that a scene's File Output nodes write beside the picture. The scene chooses their names and a node lists
 * them, so both are checked here: joined to any folder, a name of this schema stays below it.
 */
import { z } from 'zod';
import { digestSchema } from './ids.ts';
import { scenePathSchema } from './job.ts';

/** Four views and a few passes each come to dozens; a node per pass of every layer to hundreds. */
export const MAX_EXTRA_FILES = 1_000;

/** Of one frame together: thirty pictures of 3840x2160 in 32-bit floats that do not compress at all. */
export const MAX_EXTRA_BYTES = 4 * 1024 ** 3;

/** A thousand names of 512 letters, each letter four bytes long, and their digests. */
export const MAX_EXTRA_LIST_BYTES = 4 * 1024 ** 2;

/** Folders of the node, then folders of its slot, eight of each as the session cuts them (extras.py), and the file. */
const MAX_DEPTH = 17;
/** Of one component: where file systems stop. */
const MAX_COMPONENT_BYTES = 255;

/** What no file system of an artist takes, and what a terminal would act on. */
const UNSAFE = /[<>:"|?*\\\p{Cc}\p{Cs}]/u;
/** A hidden file is a setting of some program; a dot or space at the end is dropped by some systems. */
const HIDDEN_OR_CUT = /^[. ]|[. ]$/;
/** What Blender puts behind a picture of one of its still formats; with extensions off a name ends as it likes. */
const PICTURE_ENDING = /^[^.]*$|\.(png|jpe?g|jp2|j2c|tiff?|exr|webp|bmp|tga|rgb|cin|dpx|hdr|\d[^.]*)$/i;

/** Why a name is not one of a File Output node's file, or null when it is. */
export function problemOfName(name: string): string | null {
  if (!scenePathSchema.safeParse(name).success) {
    return 'is no relative path of at most 512 letters without . and ..';
  }
  const parts = name.split('/');
  if (parts.length > MAX_DEPTH) return `is more than ${MAX_DEPTH} folders deep`;
  if (UNSAFE.test(name)) return 'has letters that not every system can store';
  if (parts.some((part) => HIDDEN_OR_CUT.test(part)))
    return 'has a part that begins or ends with a dot or space';
  if (parts.some((part) => new TextEncoder().encode(part).length > MAX_COMPONENT_BYTES)) {
    return `has a part of more than ${MAX_COMPONENT_BYTES} bytes`;
  }
  const file = parts.at(-1) ?? '';
  // Blender puts the frame's number into every one of them. A script or a setting of the artist's has another name.
  if (!/\d/.test(file)) return 'has no frame number';
  if (!PICTURE_ENDING.test(file)) return 'does not end as a picture does';
  return null;
}

/** As two systems of three compare names. */
const folded = (name: string): string => name.normalize('NFC').toLowerCase();

/** Why these names cannot all be in one folder, or null when they can. */
export function problemOfNames(names: readonly string[]): string | null {
  const files = new Set<string>();
  for (const name of names) {
    if (files.has(folded(name))) return `two files are called ${name}`;
    files.add(folded(name));
  }
  for (const name of names) {
    const inTheWay = foldersOf(name).find((folder) => files.has(folded(folder)));
    if (inTheWay !== undefined) return `${inTheWay} is a file and the folder of another one`;
  }
  return null;
}

/** `a/b/c` lies in `a` and `a/b`. */
function foldersOf(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_part, index) => parts.slice(0, index + 1).join('/'));
}

export const extraFileSchema = z.strictObject({
  /** Below the folder of the frames, with forward slashes. */
  name: z.string().superRefine((name, context) => {
    const problem = problemOfName(name);
    if (problem !== null) context.addIssue({ code: 'custom', message: `the name of a file ${problem}` });
  }),
  digest: digestSchema,
  sizeBytes: z.number().int().min(0).max(MAX_EXTRA_BYTES),
});
export type ExtraFile = z.infer<typeof extraFileSchema>;

/** All of one frame. Stored as a blob, whose digest is in the receipt: so the list is part of what a node commits to. */
export const extraFileListSchema = z.strictObject({
  version: z.literal(1),
  files: z
    .array(extraFileSchema)
    .min(1)
    .max(MAX_EXTRA_FILES)
    .superRefine((files, context) => {
      const problem = problemOfNames(files.map((file) => file.name));
      if (problem !== null) context.addIssue({ code: 'custom', message: problem });
    })
    .refine(
      (files) => files.reduce((total, file) => total + file.sizeBytes, 0) <= MAX_EXTRA_BYTES,
      'the files are too large together',
    ),
});
export type ExtraFileList = z.infer<typeof extraFileListSchema>;
