/** What a runtime says about a scene. */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Bench } from './bench.ts';

export function inspectConformance(bench: Bench): void {
  const { signal, open, firstInspection, fresh, scenes } = bench;

  describe('inspect', () => {
    it('describes the scene', async () => {
      expect(await firstInspection('composite-percent')).toMatchObject({
        frameStart: 1,
        frameEnd: 5,
        frameStep: 1,
        framesPerSecond: 24,
        frameRate: { fps: 24, base: 1 },
        resolution: { width: 96, height: 54 },
        region: { x: 0, y: 0, width: 96, height: 54 },
        renderEngine: 'CYCLES',
        samples: 8,
        hasCamera: true,
        viewLayers: [{ name: 'ViewLayer', passes: ['Combined', 'Depth', 'Mist', 'Normal'] }],
        usesCompositor: true,
        usesSequencer: false,
        usesDenoising: false,
        usesMultiview: false,
        outputFormat: { fileFormat: 'PNG', colorMode: 'RGBA', colorDepth: '8' },
        files: [],
        missingFiles: [],
        unsupported: [],
        untileable: [],
        warnings: [],
      });
    });

    it('tells the border from the picture', async () => {
      const region = { x: 12, y: 4, width: 66, height: 39 };
      expect(await firstInspection('border-crop')).toMatchObject({ region, picture: region });
      expect(await firstInspection('border')).toMatchObject({
        region,
        picture: { x: 0, y: 0, width: 97, height: 55 },
      });
    });

    it('lists the layers that are rendered, and a denoiser that is wanted', async () => {
      const { viewLayers } = await firstInspection('layers');
      expect(viewLayers.map((layer) => layer.name)).toEqual(['ViewLayer', 'Front.matte']);
      const inspection = await firstInspection('denoised');
      expect(inspection.usesDenoising).toBe(true);
      expect([...inspection.warnings, ...inspection.unsupported]).toHaveLength(1);
    });

    it('lists libraries and their files, the missing ones too', async () => {
      await using session = await open('scene', join(scenes(), 'linked'));
      const library = { path: 'parts/block.blend', kind: 'library', exists: true, outsideRoot: false };
      const image = { path: 'textures/checker.png', kind: 'image', exists: true, outsideRoot: false };
      expect(await session.inspect({ signal })).toMatchObject({
        files: [library, image],
        missingFiles: [],
      });

      const bare = fresh('');
      await cp(join(scenes(), 'linked'), bare, { recursive: true });
      await rm(join(bare, 'textures'), { recursive: true });
      await using untextured = await open('scene', bare);
      expect((await untextured.inspect({ signal })).missingFiles).toEqual([{ ...image, exists: false }]);
      await rm(join(bare, 'parts'), { recursive: true });
      await using unlinked = await open('scene', bare);
      expect((await unlinked.inspect({ signal })).missingFiles).toEqual([{ ...library, exists: false }]);
    });

    it('flags what climbs out of the folder', async () => {
      await using session = await open('climbing', join(scenes(), 'linked'));
      const climbing = { path: '//../outside.png', kind: 'image', exists: false, outsideRoot: true };
      expect((await session.inspect({ signal })).missingFiles).toEqual([climbing]);
      await using inside = await open('linked/climbing');
      expect((await inside.inspect({ signal })).missingFiles).toMatchObject([
        { path: 'outside.png', outsideRoot: false },
      ]);
    });
  });
}
