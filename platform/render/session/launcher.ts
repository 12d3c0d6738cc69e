/** How a session gets its Blender: the only thing in which the process and the container runtime differ. */
import type { Tail } from './words.ts';

/** Where things are inside every sandbox. The Python in blender-images/session is given these paths. */
export const INSIDE = {
  scene: '/scene',
  python: '/tessera/session',
  input: '/in',
  output: '/out',
} as const;

/** The socket lies in the input folder: connecting needs no right to write there. */
export const SOCKET_NAME = 's';

/** Folders of the host, and what they become inside. */
export type SandboxFolders = {
  /** Read-only at {@link INSIDE}.scene. */
  scene: string;
  /** Read-only at {@link INSIDE}.input. */
  input: string;
  /** Writable at {@link INSIDE}.output. */
  output: string;
};

export type Exit = {
  code: number | null;
  signal: string | null;
  /** The kernel ended it because it took more memory than its sandbox may have. */
  outOfMemory?: boolean;
};

/** The user that a sandbox runs as, where that is not the user of this program: files for it become its own. */
export type Guest = { uid: number; gid: number };

/** A renderer that was started. */
export type Launched = {
  /** Resolves, never rejects, when nothing of it runs any more. */
  readonly exited: Promise<Exit>;
  readonly output: Tail;
  /** Ends all of it at once. */
  kill(): void;
};

export type Launch = (folders: SandboxFolders, options: { threads: number }) => Launched;
