import { createDockerRuntime } from '../../platform/render/docker/runtime.ts';
import { renderRuntimeConformance } from './conformance.ts';
import { blenderInImage, testImage } from './docker-support.ts';

renderRuntimeConformance(
  'docker',
  async ({ tempFolder }) => createDockerRuntime({ ...(await testImage()), owner: tempFolder, tempFolder }),
  blenderInImage(),
);
