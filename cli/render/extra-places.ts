/** Which file of a job's File Output nodes goes where below the folder of its frames. Pure. */

/** As two systems of three compare names. */
const folded = (path: string): string => path.normalize('NFC').toLowerCase();

/**
 * Hands out paths, each once. A path that a picture of the job or another frame has already is not overwritten: the
 * second file goes to the same path inside a folder named after its frame. First come, first served.
 */
export class ExtraPlaces {
  /** Files and the folders they are in, with the frame each is of; pictures are of no frame. */
  readonly #files = new Map<string, number | null>();
  readonly #folders = new Map<string, Set<number | null>>();

  /** `pictures`: paths that are spoken for, relative like all paths here. */
  constructor(pictures: Iterable<string>) {
    for (const path of pictures) this.#claim(path, null);
  }

  /** Where the file of that name goes. */
  place(frame: number, name: string): string {
    let path = name;
    for (let number = 1; !this.#isFree(path); number++) path = `${folderOfFrame(frame, number)}/${name}`;
    this.#claim(path, frame);
    return path;
  }

  /** Forgets the files of a frame: they are gone, or about to be replaced. */
  release(frame: number): void {
    for (const [path, owner] of this.#files) if (owner === frame) this.#files.delete(path);
    for (const [path, owners] of this.#folders) {
      owners.delete(frame);
      if (owners.size === 0) this.#folders.delete(path);
    }
  }

  #isFree(path: string): boolean {
    const file = folded(path);
    if (this.#files.has(file) || this.#folders.has(file)) return false;
    return !foldersOf(file).some((folder) => this.#files.has(folder));
  }

  #claim(path: string, frame: number | null): void {
    const file = folded(path);
    this.#files.set(file, frame);
    for (const folder of foldersOf(file)) {
      const owners = this.#folders.get(folder) ?? new Set();
      this.#folders.set(folder, owners.add(frame));
    }
  }
}

/** `a/b/c` lies in `a` and `a/b`. */
function foldersOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_part, index) => parts.slice(0, index + 1).join('/'));
}

function folderOfFrame(frame: number, number: number): string {
  return `frame_${frameNumber(frame)}${number === 1 ? '' : `-${number}`}`;
}

/** Blender's own spelling: four digits at least. */
export function frameNumber(frame: number): string {
  return `${frame < 0 ? '-' : ''}${String(Math.abs(frame)).padStart(4, '0')}`;
}
