/**
 * The port behind which pixels are made. A runtime opens sessions; a session is one renderer that has loaded one
 * scene once and then takes commands, one at a time (calls made meanwhile wait their turn), until it is closed.
 *
 * Scenes and EXR files come from strangers. Every implementation decodes both inside its sandbox only, and a path
 * given here is a path of the host: implementations carry files in and out themselves.
 */

import type { FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { OutputSettings, PictureFormat, Precision } from '../../protocol/output.ts';
import type { Rect, Size } from '../../protocol/rect.ts';
import type { SavedWith } from './blend-header.ts';
import type { BoundDevice, ReportedDevice } from './device-choice.ts';

/** Who made the pixels: same engine and same device class means same pixels (design, 2: verification class). */
export type EngineInfo = {
  /** `blender-3.4.1`; for the engine in an image with its digest, `blender-4.3.2@sha256:0123456789ab`. */
  id: string;
  /** For example `3.4.1`. */
  version: string;
  /** The kernel that runs: `cpu-avx2`, `cpu-avx`, `cpu-sse42`, `optix-sm89`, … */
  deviceClass: string;
  /** The GPU that its sessions are opened on; left out: the CPU. */
  device?: BoundDevice;
  /** What keeps the scene from the rest of the machine; `synthetic` runs nothing of a scene. */
  runtime: 'process' | 'docker' | 'synthetic';
};

export type SceneFolder = {
  /** Folder of the host with everything the scene needs. The renderer sees it read-only. */
  root: string;
  /** Path of the .blend file below `root`, with forward slashes. */
  main: string;
};

/** A file that the scene, or a library it links, reads from disk. Packed files are not listed. */
export type SceneFile = {
  /** Relative to the scene's root with forward slashes; for a file outside the root the path as it is stored. */
  path: string;
  kind: 'library' | 'image' | 'sequence' | 'udim' | 'movie' | 'sound' | 'font' | 'volume' | 'cache' | 'other';
  /** Whether the sandbox can see it. */
  exists: boolean;
  /** Absolute, or climbing out of the root: it can never be seen by a renderer as it is stored. */
  outsideRoot: boolean;
};

export type ViewLayerInfo = {
  name: string;
  /** Passes that a render of this layer writes, `Combined` first. */
  passes: string[];
};

/** A simulation that needs the frames before, since nobody has baked it. */
export type UnbakedSimulation = {
  object: string;
  /** For people: `cloth`, `particles`, … */
  kind: string;
  /** The last frame that needs none before it. */
  firstFrame: number;
};

export type SceneInspection = {
  /** The Blender that saved the file. */
  savedWith?: SavedWith | undefined;
  frameStart: number;
  frameEnd: number;
  frameStep: number;
  frameCurrent: number;
  framesPerSecond: number;
  /** The two numbers of it as the scene has them; inspections of earlier versions have none. */
  frameRate?: { fps: number; base: number };
  /** The full frame in pixels, after the resolution percentage. All rectangles refer to it. */
  resolution: Size;
  /** What has to be rendered: the full frame, or the scene's render border. */
  region: Rect;
  /**
   * What the picture covers: the full frame, or the border where the scene crops to it. It contains `region`; the
   * rest of it stays empty.
   */
  picture: Rect;
  /** Blender's name of the render engine: `CYCLES`, `BLENDER_EEVEE`, … Only Cycles renders without a display. */
  renderEngine: string;
  samples: number;
  hasCamera: boolean;
  /** The view layers that are rendered. */
  viewLayers: ViewLayerInfo[];
  usesCompositor: boolean;
  usesSequencer: boolean;
  usesDenoising: boolean;
  /** Whether this build of Blender has OpenImageDenoise at all. */
  canDenoise: boolean;
  usesMultiview: boolean;
  outputFormat: { fileFormat: string; colorMode: string; colorDepth: string };
  /** What this build of Blender can write. */
  writableFormats: PictureFormat[];
  files: SceneFile[];
  /** Those of `files` that do not exist in the sandbox. */
  missingFiles: SceneFile[];
  /** Why the farm would not give what Blender gives for this scene, one sentence each; empty when it would. */
  unsupported: string[];
  /** Why its frames cannot be cut into tiles, one sentence each; empty when they can. */
  untileable: string[];
  /** Simulations whose frames are not all kept with the scene; inspections of earlier versions have no such list. */
  unbaked?: UnbakedSimulation[] | undefined;
  /** What the artist should know, though Blender alone would do the same: scripts that are not run, no denoiser. */
  warnings: string[];
};

export type RenderProgress = {
  /** 0 to 1. */
  fraction: number;
  /** What the renderer is doing, in its own words. */
  note: string;
  /** Of the view layer that is being rendered. */
  samples?: { done: number; of: number };
  /** The renderer's own estimate for what is left. */
  remainingMs?: number;
  /** What the renderer says it holds for this picture. */
  memoryBytes?: number;
};

export type CommandOptions = {
  /** Aborting ends the renderer at once; the session is closed afterwards. */
  signal: AbortSignal;
  /** Past it the renderer is ended and the command fails with RENDER_TIMEOUT. */
  timeoutMs?: number;
  onProgress?: (progress: RenderProgress) => void;
};

export type RenderCommand = {
  frame: number;
  /** In full-frame pixels. */
  rect: Rect;
  /** In place of the scene's own number. */
  samples?: number;
  /**
   * So many samples of every pixel are left to others: these are the ones after them; none when left out. The difference
   * of two halves tells the noise of the whole. Their mean is the whole, within float rounding, where a sample is the same
   * however many there are: not with blue noise, and not with adaptive sampling.
   */
  sampleOffset?: number;
  /** How the EXR stores colours; `float` when left out. */
  precision?: Precision;
  /** Where the EXR goes. Its folder exists; a file there is replaced. */
  output: string;
};

export type RenderedTile = {
  /** Multilayer EXR, lossless, of exactly the rectangle's size; only a session of the same engine reads it. */
  exrPath: string;
  /** Digest of its canonical pixels (proof/pixels.ts). */
  pixelDigest: Digest;
  renderMs: number;
  /** Largest resident size of the renderer during this command. */
  peakMemoryBytes: number;
  /** The number that was actually used. */
  samples: number;
};

export type PreviewCommand = {
  frame: number;
  /** The longer side of the picture in pixels; a frame that is smaller stays as it is. */
  longSide: number;
  /** Few: a preview is for looking at. */
  samples?: number;
  /** Where the PNG goes. */
  output: string;
};

/**
 * A small 8-bit picture of a frame through the scene's colour management, without its compositor: nodes that count
 * in pixels would look different at this size.
 */
export type PreviewPicture = {
  picturePath: string;
  width: number;
  height: number;
  renderMs: number;
};

export type FinishTile = { rect: Rect; path: string };

export type FinishCommand = {
  frame: number;
  /** What the tiles cover, each pixel exactly once: `SceneInspection.region`. */
  region: Rect;
  /**
   * What the picture covers: `SceneInspection.picture`, which is the region itself (so when left out) or the full
   * frame.
   */
  picture?: Rect;
  tiles: readonly FinishTile[];
} & FrameOutputs;

/** What a finished frame is written as, and where. */
type FrameOutputs = {
  /** PNG with the scene's own settings when left out. */
  output?: OutputSettings;
  /** Where the EXR of all layers and passes goes. */
  exrOutput: string;
  /**
   * How the EXR is packed. `fastest` for files that may never travel: run lengths or nothing at all, several times
   * faster and up to twice as large. The pixels are the same. `zip` when left out.
   */
  exrCodec?: 'zip' | 'fastest';
  /** Where the finished picture goes; its extension decides nothing. */
  pictureOutput: string;
  /** An existing folder for the files of File Output nodes. When left out they are not kept. */
  extraFolder?: string;
};

/** A file of a File Output node. */
export type ExtraFile = {
  /** Relative, with forward slashes, safe to join to a folder: what the artist would find below the output folder. */
  name: string;
  path: string;
};

export type FinishedFrame = {
  exrPath: string;
  picturePath: string;
  /** Digest of the EXR's canonical pixels. */
  pixelDigest: Digest;
  width: number;
  height: number;
  finishMs: number;
  extraFiles: ExtraFile[];
};

/** A frame that is not tiled: rendered and finished at once. */
export type FrameCommand = {
  frame: number;
  /** As in {@link FinishCommand}. */
  region: Rect;
  picture?: Rect;
  /** In place of the scene's own number. */
  samples?: number;
  /** How the EXR stores colours; `float` when left out. With `half` the picture comes from the quantised pixels. */
  precision?: Precision;
} & FrameOutputs;

/** A {@link FinishedFrame} that was rendered too; its EXR is what merging the frame's tiles gives. */
export type RenderedFrame = FinishedFrame & {
  renderMs: number;
  /** Largest resident size of the renderer during this command. */
  peakMemoryBytes: number;
  /** The number that was actually used. */
  samples: number;
};

export type ReadPixelsCommand = {
  /** An EXR of any origin. */
  exr: string;
  /** The part to write, relative to the file's own top left pixel. The whole when left out. */
  crop?: Rect;
  /** Where the canonical bytes go (proof/pixels.ts reads them). */
  output: string;
};

export type DecodedPixels = {
  /** Of what was written: the crop, or the whole. */
  width: number;
  height: number;
  /** Channel names in canonical order. */
  channels: string[];
  /** Of the whole file, whatever the crop. */
  pixelDigest: Digest;
  rawPath: string;
};

/** What an EXR of any origin holds; nothing is written. */
export type PixelsOfFile = Omit<DecodedPixels, 'rawPath'>;

/** Why a renderer is no longer there. The last three: it ran into a limit of its sandbox. */
export type SessionEnd = {
  reason: 'closed' | 'aborted' | 'timeout' | 'crashed' | 'memory' | 'output' | 'processes';
  message: string;
};

export interface RenderSession extends AsyncDisposable {
  readonly engine: EngineInfo;
  inspect(options: CommandOptions): Promise<SceneInspection>;
  /** What Blender itself says it can render on. Left out by runtimes without a Blender. */
  devices?(options: CommandOptions): Promise<ReportedDevice[]>;
  render(command: RenderCommand, options: CommandOptions): Promise<RenderedTile>;
  finish(command: FinishCommand, options: CommandOptions): Promise<FinishedFrame>;
  /** What rendering the region as one tile and finishing it gives, at about the price of rendering it. */
  renderFrame(command: FrameCommand, options: CommandOptions): Promise<RenderedFrame>;
  preview(command: PreviewCommand, options: CommandOptions): Promise<PreviewPicture>;
  readPixels(command: ReadPixelsCommand, options: CommandOptions): Promise<DecodedPixels>;
  /** What each of these EXR files holds, or the error that reading it alone would have given, in their order. */
  digestPixels(exrs: readonly string[], options: CommandOptions): Promise<(PixelsOfFile | FarmError)[]>;
  /** Resident memory of the renderer as last reported; absent until it was. */
  readonly memoryBytes?: number | undefined;
  /** Resolves, never rejects, once the renderer has ended for whatever reason and its files are gone. */
  readonly closed: Promise<SessionEnd>;
  /** Ends the renderer. A command under way fails with INTERRUPTED. May be called twice. */
  close(): Promise<void>;
}

export type OpenOptions = {
  /** Aborting ends the opening, not an open session. */
  signal: AbortSignal;
  threads: number;
  /** For starting the renderer and loading the scene. */
  loadTimeoutMs?: number;
  /** 0, or up to 19 for a session that gives way to all else on this machine; left out: as the runtime's others. */
  niceness?: number | undefined;
  /** One of {@link RenderRuntime.start} to load the scene in; it belongs to the session from here on, or is ended. */
  started?: StartedRenderer | undefined;
};

/** A renderer that runs and has no scene yet. */
export interface StartedRenderer extends AsyncDisposable {
  /** False once it has ended for whatever reason. */
  readonly alive: boolean;
  close(): Promise<void>;
}

export interface RenderRuntime {
  readonly engine: EngineInfo;
  /** Starts a renderer and loads the scene. SCENE_UNREADABLE when the file is broken. */
  open(scene: SceneFolder, options: OpenOptions): Promise<RenderSession>;
  /** Starts a renderer for a scene that is not known yet. Left out by runtimes in which that saves nothing. */
  start?(options: { signal: AbortSignal; threads: number }): Promise<StartedRenderer>;
  /** Left out by runtimes that have the CPU only, and by those that are bound to a GPU already. */
  readonly gpus?: GpuAccess;
}

/** How a runtime reaches the GPUs of its machine. */
export interface GpuAccess {
  /** What Blender reports inside its sandbox when that is given every GPU; null where this machine has none to give. */
  report(signal: AbortSignal): Promise<ReportedDevice[] | null>;
  /** The same engine, its sessions opened on this GPU and no other. */
  on(device: BoundDevice): BoundRuntime;
}

export interface BoundRuntime extends RenderRuntime {
  /** Renders a few pixels: what is reported and what works are two things. Throws why it does not. */
  tryOut(signal: AbortSignal): Promise<void>;
}
