import { createHash } from 'node:crypto';
import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FarmClient } from '../../cli/farm-client.ts';
import { requireBlendFile } from '../../cli/render/check-blend.ts';
import { submitScene } from '../../cli/render/submit-scene.ts';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { listen } from '../../platform/http/listen.ts';
import { API_BASE, type MissingFile } from '../../protocol/http.ts';
import { type SceneManifest, sceneManifestSchema } from '../../protocol/job.ts';
import { tempFolder } from '../platform/temp-folder.ts';

const never = new AbortController().signal;

/** A farm that stores blobs and asks for the files that each round of `asks` names. */
class FakeFarm {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests: SceneManifest[] = [];
  readonly puts: string[] = [];
  asks: MissingFile[][] = [];

  /** Everything that ever reached this farm, as text. */
  get received(): string[] {
    return [...this.blobs.values()].map((bytes) => bytes.toString());
  }

  handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const digest = /\/blobs\/([0-9a-f]{64})$/.exec(request.url ?? '')?.[1];
    if (request.method === 'HEAD' && digest !== undefined) {
      response.statusCode = this.blobs.has(digest) ? 200 : 404;
      return void response.end();
    }
    if (request.method === 'PUT' && digest !== undefined) {
      if (createHash('sha256').update(body).digest('hex') !== digest) response.statusCode = 422;
      this.blobs.set(digest, body);
      this.puts.push(digest);
      return void response.end('{}');
    }
    if (request.method === 'POST' && request.url === `${API_BASE}/scenes`) {
      this.manifests.push(sceneManifestSchema.parse(JSON.parse(body.toString())));
      const missing = this.asks.shift() ?? [];
      return void response.end(JSON.stringify({ scene: 'ab'.repeat(32), summary: null, missing }));
    }
    response.statusCode = 404;
    response.end();
  };
}

let farm: FakeFarm;
let server: Awaited<ReturnType<typeof listen>>;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let client: FarmClient;

beforeEach(async () => {
  farm = new FakeFarm();
  server = await listen((request, response) => void farm.handle(request, response), 0);
  client = new FarmClient({ apiUrl: server.url, credential: 'a-key' });
  folder = await tempFolder();
  await put('project/scene.blend', 'BLENDER scene');
  await put('secret.txt', 'SECRET outside');
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const at = (path: string): string => join(folder.path, path);
async function put(path: string, content: string): Promise<void> {
  await mkdir(join(at(path), '..'), { recursive: true });
  await writeFile(at(path), content);
}
const inside = (path: string): MissingFile => ({ stored: `//${path}`, path });
const submit = (root?: string) => submitScene(client, at('project/scene.blend'), root, never);

describe('bringing a scene to a farm', () => {
  it('sends a scene that needs nothing else in one round', async () => {
    const submitted = await submit();
    expect(submitted).toMatchObject({
      sentBytes: 13,
      files: [{ path: 'scene.blend', digest: digestBytes('BLENDER scene'), sizeBytes: 13 }],
    });
    expect(farm.manifests).toEqual([{ main: 'scene.blend', files: submitted.files }]);
  });

  it('sends what the farm asks for, round after round, until nothing is missing', async () => {
    await put('project/lib/props.blend', 'BLENDER props');
    await put('project/textures/wood.png', 'wood');
    farm.asks = [[inside('lib/props.blend')], [inside('textures/wood.png')]];
    const { files } = await submit();
    expect(files.map((file) => file.path)).toEqual(['scene.blend', 'lib/props.blend', 'textures/wood.png']);
    expect(farm.manifests.map((manifest) => manifest.files.length)).toEqual([1, 2, 3]);
    expect(farm.received).toEqual(['BLENDER scene', 'BLENDER props', 'wood']);
  });

  it('sends of a folder what simulations keep in it, and nothing else', async () => {
    await put('project/cache/data/fluid_data_0001.vdb', 'liquid');
    await put('project/cache/mesh/fluid_mesh_0001.bobj.gz', 'mesh');
    await put('project/cache/notes.txt', 'SECRET notes');
    await symlink(at('secret.txt'), at('project/cache/leak.vdb'));
    farm.asks = [[inside('cache')]];
    const { files } = await submit();
    expect(files.map((file) => file.path)).toEqual([
      'scene.blend',
      'cache/data/fluid_data_0001.vdb',
      'cache/mesh/fluid_mesh_0001.bobj.gz',
    ]);
    expect(farm.received.join()).not.toContain('SECRET');
  });

  it.each(['empty', 'nowhere'])('says that a cache is missing whose folder is %s', async (path) => {
    await put('project/empty/notes.txt', 'no cache');
    farm.asks = [[inside(path)]];
    await expect(submit()).rejects.toMatchObject({
      code: 'SCENE_FILES_MISSING',
      details: { missing: [`//${path}`] },
    });
  });

  it('sends only bytes that the farm does not have', async () => {
    await put('project/a.png', 'same bytes');
    await put('project/b.png', 'same bytes');
    farm.asks = [[inside('a.png'), inside('b.png')]];
    const first = await submit();
    expect(first.sentBytes).toBe(13 + 10);
    farm.asks = [[inside('a.png'), inside('b.png')]];
    expect((await submit()).sentBytes).toBe(0);
    expect(farm.puts).toHaveLength(2);
  });

  it('names paths relative to --root, so that files above the scene can go along', async () => {
    await put('shared/wood.png', 'wood');
    farm.asks = [[inside('shared/wood.png')]];
    const { files } = await submit(folder.path);
    expect(farm.manifests[0]?.main).toBe('project/scene.blend');
    expect(files.map((file) => file.path)).toEqual(['project/scene.blend', 'shared/wood.png']);
  });

  it('refuses a root that does not contain the scene, before anything is sent', async () => {
    await mkdir(at('elsewhere'));
    await expect(submit(at('elsewhere'))).rejects.toMatchObject({
      code: 'USAGE',
      kept: 'nothing was submitted',
    });
    expect(farm.blobs.size).toBe(0);
  });

  it('names every file that cannot be had at once, and sends none of that round', async () => {
    await put('project/there.png', 'there');
    farm.asks = [[inside('there.png'), inside('gone.png'), { stored: '/opt/wood.png', path: null }]];
    await expect(submit()).rejects.toMatchObject({
      code: 'SCENE_FILES_MISSING',
      kept: 'nothing was submitted',
      details: { missing: ['//gone.png', expect.stringContaining('/opt/wood.png (outside ')] },
    });
    expect(farm.received).toEqual(['BLENDER scene']);
  });

  it.each([
    ['climbs out', '../secret.txt'],
    ['climbs out by a detour', 'textures/../../secret.txt'],
    ['is absolute', '/etc/passwd'],
    ['is a folder', 'textures'],
    ['is the root itself', '.'],
    ['is nothing', ''],
    ['goes through a file', 'scene.blend/x'],
  ])('does not send a path that %s, whoever asks for it', async (_what, path) => {
    await mkdir(at('project/textures'), { recursive: true });
    farm.asks = [[inside(path)]];
    await expect(submit()).rejects.toMatchObject({ code: 'SCENE_FILES_MISSING' });
    expect(farm.received).toEqual(['BLENDER scene']);
  });

  it.each([
    ['a file', 'secret.txt', 'link', 'link'],
    ['a folder', '.', 'up', 'up/secret.txt'],
  ])('does not follow a link to %s outside the root', async (_what, target, link, asked) => {
    await symlink(at(target), at(`project/${link}`));
    farm.asks = [[inside(asked)]];
    await expect(submit()).rejects.toMatchObject({ code: 'SCENE_FILES_MISSING' });
    expect(farm.received.join()).not.toContain('SECRET');
  });

  it('does not fall for a link that leads to itself', async () => {
    await symlink(at('project/loop'), at('project/loop'));
    farm.asks = [[inside('loop')]];
    await expect(submit()).rejects.toMatchObject({ code: 'SCENE_FILES_MISSING' });
  });

  it('follows a link that stays inside the root', async () => {
    await put('project/textures/wood.png', 'wood');
    await symlink('textures/wood.png', at('project/alias.png'));
    farm.asks = [[inside('alias.png')]];
    expect((await submit()).files.map((file) => file.path)).toEqual(['scene.blend', 'alias.png']);
    expect(farm.received).toContain('wood');
  });

  it('finds the root of a scene that is itself a link', async () => {
    await symlink(at('project/scene.blend'), at('link.blend'));
    await submitScene(client, at('link.blend'), undefined, never);
    expect(farm.manifests[0]?.main).toBe('scene.blend');
  });

  it('does not go round in circles when the farm asks for what it was given', async () => {
    await put('project/wood.png', 'wood');
    farm.asks = Array.from({ length: 50 }, () => [inside('wood.png')]);
    await expect(submit()).rejects.toMatchObject({ code: 'SCENE_FILES_MISSING' });
    expect(farm.manifests).toHaveLength(2);
  });

  it('stops when the farm asks for ever more files', async () => {
    const names = Array.from({ length: 60 }, (_, index) => `f${index}.png`);
    for (const name of names) await put(`project/${name}`, name);
    farm.asks = names.map((name) => [inside(name)]);
    await expect(submit()).rejects.toMatchObject({ code: 'SCENE_FILES_MISSING' });
    expect(farm.manifests.length).toBeLessThan(60);
  });
});

describe('a first look at the file', () => {
  it.each<[string, Buffer]>([
    ['as it is', Buffer.from('BLENDER-v304')],
    ['packed with gzip', gzipSync('BLENDER-v279')],
    ['packed with zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x00])],
  ])('takes a .blend %s', async (_what, bytes) => {
    await writeFile(at('some.blend'), bytes);
    await expect(requireBlendFile(at('some.blend'))).resolves.toBeUndefined();
  });

  it('says SCENE_NOT_FOUND where there is none', async () => {
    for (const path of ['none.blend', 'project/scene.blend/x']) {
      await expect(requireBlendFile(at(path))).rejects.toMatchObject({
        code: 'SCENE_NOT_FOUND',
        kept: 'nothing was submitted',
      });
    }
  });

  it('says SCENE_NOT_BLEND for anything else', async () => {
    await put('model.fbx', 'Kaydara FBX Binary');
    await put('empty.blend', '');
    await put('half.blend', 'BLEN');
    for (const path of ['model.fbx', 'empty.blend', 'half.blend', 'project']) {
      await expect(requireBlendFile(at(path))).rejects.toMatchObject({
        code: 'SCENE_NOT_BLEND',
        kept: 'nothing was submitted',
      });
    }
  });

  it('reads only the beginning of a large file', async () => {
    await put('large.blend', 'BLENDER');
    await truncate(at('large.blend'), 20 * 1024 ** 3);
    await expect(requireBlendFile(at('large.blend'))).resolves.toBeUndefined();
  });
});
