/** What a movie really is, asked of ffprobe and ffmpeg, outside of anything under test. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { z } from 'zod';

const run = promisify(execFile);
const MAX_BYTES = 512 * 2 ** 20;

const probedSchema = z.object({
  streams: z
    .array(
      z.object({
        codec_name: z.string(),
        profile: z.string().optional(),
        width: z.number(),
        height: z.number(),
        pix_fmt: z.string(),
        r_frame_rate: z.string(),
        avg_frame_rate: z.string(),
        time_base: z.string(),
        nb_read_frames: z.string(),
        color_range: z.string().optional(),
        color_space: z.string().optional(),
        color_transfer: z.string().optional(),
        color_primaries: z.string().optional(),
      }),
    )
    .length(1),
  format: z.object({ duration: z.string() }),
  frames: z.array(z.object({ pts: z.number(), key_frame: z.number() })),
});

export async function probe(path: string) {
  const { stdout } = await run('ffprobe', [
    ...['-v', 'error', '-count_frames', '-of', 'json', '-show_streams', '-show_format'],
    ...['-show_frames', '-show_entries', 'frame=pts,key_frame', path],
  ]);
  const { streams, format, frames } = probedSchema.parse(JSON.parse(stdout));
  const [stream] = streams;
  if (stream === undefined) throw new Error('no stream');
  const [above = 1, below = 1] = stream.time_base.split('/').map(Number);
  return {
    ...stream,
    frames: Number(stream.nb_read_frames),
    durationSeconds: Number(format.duration),
    /** When each frame is shown, in the container's own units and in seconds. */
    pts: frames.map((frame) => frame.pts),
    seconds: frames.map((frame) => (frame.pts * above) / below),
    unitSeconds: above / below,
    keyFrames: frames.flatMap((frame, index) => (frame.key_frame === 1 ? [index] : [])),
  };
}

/** The frames as a player shows them: RGBA, converted as the movie's own tags say. */
export async function decodedFrames(
  path: string,
  size: { width: number; height: number },
): Promise<Buffer[]> {
  const { stdout } = await run(
    'ffmpeg',
    [
      '-v',
      'error',
      '-i',
      path,
      '-f',
      'rawvideo',
      '-sws_flags',
      'accurate_rnd+full_chroma_int',
      '-pix_fmt',
      'rgba',
      '-',
    ],
    { encoding: 'buffer', maxBuffer: MAX_BYTES },
  );
  const bytes = size.width * size.height * 4;
  return Array.from({ length: stdout.length / bytes }, (_, index) =>
    stdout.subarray(index * bytes, (index + 1) * bytes),
  );
}

/** Whether the index lies before the pictures, so that a page can play what has not wholly arrived. */
export function indexFirst(movie: Buffer): boolean {
  return movie.indexOf('moov', 0, 'latin1') < movie.indexOf('mdat', 0, 'latin1');
}
