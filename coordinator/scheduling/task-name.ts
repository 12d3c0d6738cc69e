/** What a task is called where people read of it. */
import { assertNever } from '../../protocol/errors.ts';
import type { TaskKind } from '../../protocol/receipt.ts';

export function taskName({ kind, frame, tile }: { kind: TaskKind; frame: number; tile: number }): string {
  switch (kind) {
    case 'render':
      return `tile ${tile} of frame ${frame}`;
    case 'finish':
      return `finishing frame ${frame}`;
    case 'frame':
      return `frame ${frame}`;
    default:
      return assertNever(kind);
  }
}
