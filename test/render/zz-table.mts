import { basename, dirname, join } from 'node:path';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import { cut, differingValues, referencePicture, temporaryFolder } from './support.ts';

const signal = new AbortController().signal;
const rt = await createProcessRuntime({ signal });
const frame = Number(process.env.FRAME ?? 2);
for (const scene of process.argv.slice(2)) {
  await using folder = await temporaryFolder();
  const root = process.env.ROOT ?? dirname(scene);
  try {
    let t0 = performance.now();
    const ref = await referencePicture(scene, frame, folder.path);
    const tRef = performance.now() - t0;
    t0 = performance.now();
    await using s = await rt.open({ root, main: scene.slice(root.length + 1) }, { signal, threads: 2 });
    const tOpen = performance.now() - t0;
    const i = await s.inspect({ signal });
    if (process.env.INSPECT) console.dir(i, { depth: 5 });
    if (i.unsupported.length || i.missingFiles.length)
      console.log(basename(scene), i.unsupported, i.missingFiles);
    for (const [c, r] of (process.env.GRID
      ? [process.env.GRID.split('x').map(Number)]
      : [
          [1, 1],
          [3, 2],
          [5, 4],
        ]) as [number, number][]) {
      t0 = performance.now();
      const tiles = [];
      let ms = 0,
        max = 0;
      for (const [n, rect] of cut(i.region, c, r).entries()) {
        const path = join(folder.path, `t${n}.exr`);
        const x = await s.render({ frame, rect, output: path }, { signal });
        ms += x.renderMs;
        max = Math.max(max, x.peakMemoryBytes);
        tiles.push({ rect, path });
      }
      const tR = performance.now() - t0;
      const f = await s.finish(
        {
          frame,
          region: i.region,
          picture: i.picture,
          tiles,
          exrOutput: join(folder.path, 'f.exr'),
          pictureOutput: join(folder.path, 'f.png'),
        },
        { signal },
      );
      const d = await differingValues(ref, f.picturePath).catch((e) => e.message);
      console.log(
        basename(scene),
        `${c}x${r}`,
        'ref',
        tRef | 0,
        'open',
        tOpen | 0,
        'render',
        tR | 0,
        'inside',
        ms | 0,
        'finish',
        f.finishMs | 0,
        'peakMB',
        max >> 20,
        f.pixelDigest.slice(0, 8),
        d,
      );
    }
  } catch (e) {
    console.log(basename(scene), 'ERR', String((e as Error).stack).slice(0, 400), (e as any).details);
  }
}
