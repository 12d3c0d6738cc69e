/** `tessera inspect`: what rendering a scene would cost, and whether it can be checked. Nothing is submitted or paid. */
import { basename } from 'node:path';
import { toJson } from '../../platform/json.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { InspectionReply } from '../../protocol/http.ts';
import { FarmClient } from '../farm-client.ts';
import type { Terminal } from '../terminal.ts';
import { requireBlendFile } from './check-blend.ts';
import { parseFrames } from './parse-frames.ts';
import { formatTokens, parseSamples, parseTiles } from './parse-options.ts';
import { findFarm, type RenderOptions } from './render-command.ts';
import { submitScene } from './submit-scene.ts';

export type InspectOptions = Pick<
  RenderOptions,
  'frames' | 'tiles' | 'samples' | 'engine' | 'device' | 'root' | 'farm' | 'data' | 'json'
>;

/** Throws SCENE_UNVERIFIABLE, after everything was said, for a scene that does not render the same twice. */
export async function inspectCommand(
  scene: string,
  options: InspectOptions,
  terminal: Terminal,
): Promise<void> {
  const choices = {
    ...(options.frames === undefined ? {} : { frames: parseFrames(options.frames) }),
    ...(options.samples === undefined ? {} : { samples: parseSamples(options.samples) }),
    tiles: parseTiles(options.tiles),
    engine: options.engine,
    device: options.device,
  };
  await requireBlendFile(scene);
  await using farm = await findFarm({ ...options, nodes: '1' }, terminal);
  const client = new FarmClient(farm);
  const { signal } = terminal;
  terminal.say(`inspecting ${basename(scene)} and rendering parts of it twice`);
  const submitted = await submitScene(client, scene, options.root, signal);
  const request = { scene: submitted.scene, name: basename(scene), ...choices };
  const inspection = await client.inspectJob(request, signal);
  const { twice } = inspection;
  if (!twice.same) {
    if (!options.json) for (const line of factsOf(inspection)) terminal.result(line);
    const kept = 'nothing was submitted, no money moved';
    throw new FarmError('SCENE_UNVERIFIABLE', twice.finding, { kept, details: { inspection } });
  }
  if (options.json) return terminal.result(toJson({ inspection }));
  for (const line of [...factsOf(inspection), `checked  ${twice.finding}`]) terminal.result(line);
}

function factsOf({
  fullFrame,
  frames,
  tiles,
  samples,
  engine,
  deviceClass,
  quote,
  warnings,
}: InspectionReply): string[] {
  return [
    `picture  ${fullFrame.width}x${fullFrame.height}, ${samples} samples, ${tiles.columns}x${tiles.rows} tiles`,
    `frames   ${frames}`,
    `engine   ${engine} on ${deviceClass}`,
    `price    ${formatTokens(quote)} TESS`,
    ...warnings.map((warning) => `warning  ${warning}`),
  ];
}
