/** What a renderer printed, kept short: enough for an error report, never enough to fill the memory. */

/** A stack trace with its context fits; a renderer that prints for hours does not grow. */
const TAIL_CHARACTERS = 8192;
/** Blender's reason is in its last lines; more of them would bury it. */
const LAST_LINES = 4;
/** A message has to fit a terminal and a log line. */
const LAST_CHARACTERS = 600;
/** Lines that Blender prints whatever happened. */
const NOISE =
  /^(I\d{4} |Blender \d|Blender quit|Read (new )?prefs|Read blend|Fra:\d|Saved:| ?Time:|\/run-u|AL lib)/;

/** The end of a renderer's output. */
export class Tail {
  #text = '';
  #line = '';
  /** Gets every line as it is finished. */
  onLine: ((line: string) => void) | undefined;

  add(chunk: string): void {
    this.#text = (this.#text + chunk).slice(-TAIL_CHARACTERS);
    const lines = (this.#line + chunk).split('\n');
    this.#line = (lines.pop() ?? '').slice(-TAIL_CHARACTERS);
    for (const line of lines) this.onLine?.(line);
  }

  get text(): string {
    return this.#text;
  }

  /** The last lines that say something, on one line. */
  lastWords(): string {
    const lines = this.#text.split('\n').map((line) => line.trim());
    const telling = lines.filter((line) => line !== '' && !NOISE.test(line));
    return telling.slice(-LAST_LINES).join(' | ').slice(-LAST_CHARACTERS);
  }
}
