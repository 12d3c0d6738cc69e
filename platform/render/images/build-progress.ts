/** What both ways of building an image are told, and how they follow the engine's own progress. */
import type { Readable } from 'node:stream';
import type { DockerEngine } from '../docker/connect.ts';

export type BuildOptions = {
  signal: AbortSignal;
  /** A line of what is going on; many a second. */
  onProgress: (line: string) => void;
  /** Where about 4 GB are needed for some minutes. */
  tempFolder?: string | undefined;
};

/** Waits for the end of one of the engine's progress streams; rejects with the error it reports. */
export function followed(
  docker: DockerEngine,
  stream: NodeJS.ReadableStream,
  onLine: (line: string) => void = () => undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    docker.client.modem.followProgress(
      stream as Readable,
      (error: Error | null) => (error === null ? resolve() : reject(error)),
      (event: { stream?: string; status?: string }) => {
        for (const line of (event.stream ?? event.status ?? '').split('\n'))
          if (line.trim() !== '') onLine(line.trim());
      },
    );
  });
}
