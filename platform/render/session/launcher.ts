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
  /** The launcher's own word for it, where it has one: the kernel ended it at the memory limit of its sandbox. */
  outOfMemory?: boolean;
};

/** What everything inside one sandbox holds at this moment. */
export type Usage = {
  /** Resident: what cannot be had back without ending it. Files that are mapped do not count, scratch space does. */
  memoryBytes: number;
  /** Threads count: they cost what processes cost. */
  processes: number;
  /** Files on disk that nobody can see any more: deleted, and still open. */
  deletedBytes: number;
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
  /** For the host's watch; undefined while there is nothing to see, or where this program cannot see it. */
  usage?(): Usage | undefined;
  /** Starts a new measurement of the largest resident size, where the renderer itself may not. */
  resetPeak?(): void;
};

export type Launch = (
  folders: SandboxFolders,
  options: { threads: number /** As in OpenOptions. */; niceness?: number | undefined },
) => Launched;
