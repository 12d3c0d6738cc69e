/** An image as a file that any Docker engine loads: one layer, and a description that is the same for the same layer. */
/** Where programs are in the images. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export type ImageDescription = {
  tag: string;
  labels: Record<string, string>;
  layerDigest: string;
  /** Of the newest package: the moment of the build would make every build another image. */
  createdAtMs: number;
  architecture: NodeJS.Architecture;
};

/** The two JSON files of the archive. The engine takes the digest of `config` as the image's id. */
export function archiveFiles(image: ImageDescription): { manifest: string; config: string } {
  const created = new Date(image.createdAtMs).toISOString();
  const config = {
    architecture: dockerArchitecture(image.architecture),
    os: 'linux',
    created,
    config: {
      Env: [`PATH=${PATH}`, 'LANG=C.UTF-8'],
      Cmd: ['blender', '--version'],
      Labels: sorted(image.labels),
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${image.layerDigest}`] },
    history: [{ created, created_by: 'tessera images build' }],
  };
  const manifest = [{ Config: 'config.json', RepoTags: [image.tag], Layers: ['layer.tar'] }];
  return { manifest: JSON.stringify(manifest), config: JSON.stringify(config) };
}

/** Node's and Docker's names of a processor differ. */
export function dockerArchitecture(architecture: NodeJS.Architecture): string {
  if (architecture === 'x64') return 'amd64';
  return architecture === 'ia32' ? '386' : architecture;
}

function sorted(labels: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
