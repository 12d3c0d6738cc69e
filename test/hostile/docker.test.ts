import { createDockerRuntime } from '../../platform/render/docker/runtime.ts';
import { testImage } from '../render/docker-support.ts';
import { hostileScenes } from './hostile-scenes.ts';

hostileScenes('docker', async ({ tempFolder, memoryLimitBytes, sessionLimits, pythonFolder }) =>
  createDockerRuntime({
    ...(await testImage()),
    owner: tempFolder,
    ...{ tempFolder, sessionLimits, pythonFolder },
    limits: { memoryBytes: memoryLimitBytes },
  }),
);
