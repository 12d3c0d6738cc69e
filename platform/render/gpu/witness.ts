/**
 * What Cycles itself says it has rendered on. It reports that at the end of every render when it is asked to log
 * (`--debug-cycles --verbose 2`; the same line in Blender 3.4 and 4.3): `Path tracing on: NAME [OPTIX]`.
 */
import { FarmError } from '../../../protocol/errors.ts';
import { pause } from '../../wait.ts';
import type { DeviceType } from '../device-choice.ts';

/** Alone on its line, so that a name in the scene cannot say it in the middle of another. */
const REPORT = /^Path tracing on: (.{0,200}) \[([A-Z]{1,16})\]\s*$/;

/** The line was written before the answer to the render command; it comes by another way. */
const REPORT_TIMEOUT_MS = 10_000;

export class DeviceWitness {
  readonly #type: DeviceType;
  #said: { name: string; type: string }[] = [];
  readonly #spoken = new AbortController();

  constructor(type: DeviceType) {
    this.#type = type;
  }

  /** Takes a line that Blender printed. */
  add(line: string): void {
    const [, name, type] = REPORT.exec(line) ?? [];
    if (name === undefined || type === undefined) return;
    this.#said.push({ name, type });
    this.#spoken.abort();
  }

  /** Throws GPU_NOT_USED unless everything since the beginning was rendered on the device's kind, and it was said so. */
  async confirm(timeoutMs = REPORT_TIMEOUT_MS): Promise<void> {
    await pause(timeoutMs, this.#spoken.signal);
    const other = this.#said.find(({ type }) => type !== this.#type);
    if (other !== undefined) {
      throw new FarmError(
        'GPU_NOT_USED',
        `the session was opened on ${this.#type}, and Blender rendered on ${other.name} (${other.type})`,
        { kept: 'the picture was thrown away' },
      );
    }
    if (this.#said.length === 0) {
      throw new FarmError(
        'GPU_NOT_USED',
        `the session was opened on ${this.#type}, and Blender did not say what it rendered on`,
        { kept: 'the picture was thrown away' },
      );
    }
  }
}
