/**
 * One table for everything that can go wrong and that a person may see. The code is the contract: scripts branch on
 * it, the HTTP edge turns it into a status, the command line into an exit code. `docs/errors.md` is made from it.
 */

type ErrorRow = {
  /** HTTP status the API answers with. */
  httpStatus: number;
  /**
   * Exit code of the `tessera` command. 1 = what was to be checked does not hold, 2 = the command line, 3 = the scene, 4 = this machine, 5 = the farm,
   * 6 = money, 7 = the render itself failed, 130 = interrupted, 70 = our own mistake (sysexits EX_SOFTWARE).
   */
  exitCode: number;
  /** Whether the same request can succeed later with nothing changed. */
  retryable: boolean;
  /** What a person can do about it. One or two sentences. */
  help: string;
};

export const ERRORS = {
  USAGE: {
    httpStatus: 400,
    exitCode: 2,
    retryable: false,
    help: 'Correct the option that the message names; `tessera <command> --help` lists them all.',
  },
  FRAMES_INVALID: {
    httpStatus: 400,
    exitCode: 2,
    retryable: false,
    help: 'Give frames as 1-24, 1,5,9 or 1-100x10: first not after last, whole numbers.',
  },
  FRAMES_OUTSIDE_SCENE: {
    httpStatus: 422,
    exitCode: 2,
    retryable: false,
    help: 'Choose frames within the range the message names, or widen the range in Blender (Output properties).',
  },
  FRAMES_MISSING: {
    httpStatus: 422,
    exitCode: 2,
    retryable: false,
    help: 'Render or fetch the frames that the message names, or say with --frames which ones belong to it, for example --frames 1-21x4.',
  },
  FRAMES_DIFFER: {
    httpStatus: 422,
    exitCode: 2,
    retryable: false,
    help: 'Frames of one movie have one size and one file format. Render the odd ones again, or leave them out with --frames or --name.',
  },
  SAMPLES_INVALID: {
    httpStatus: 400,
    exitCode: 2,
    retryable: false,
    help: 'Give --samples a whole number from 1 to 65536, or leave it out to use the number saved in the scene.',
  },
  TILES_INVALID: {
    httpStatus: 400,
    exitCode: 2,
    retryable: false,
    help: 'Give tiles as COLUMNSxROWS, for example 4x4, or auto. The message names the finest grid that fits.',
  },
  OUTPUT_INVALID: {
    httpStatus: 400,
    exitCode: 2,
    retryable: false,
    help: 'Choose a format that the message names, or leave --format out to get that of the scene.',
  },
  SCENE_NOT_FOUND: {
    httpStatus: 404,
    exitCode: 3,
    retryable: false,
    help: 'Check the path; it is read relative to the folder the command is run in.',
  },
  SCENE_NOT_BLEND: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Give the .blend file itself, saved by Blender; exports such as .fbx or .gltf have to be opened and saved there first.',
  },
  SCENE_UNREADABLE: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Open the file in Blender and save it again; if Blender cannot open it either, go back to the last good copy (.blend1).',
  },
  SCENE_FILES_MISSING: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Put the files where the scene expects them, or run File > External Data > Find Missing Files and save. Files above the folder of the scene need --root.',
  },
  SCENE_NO_CAMERA: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Add a camera (Shift+A > Camera), make it active (Ctrl+Numpad 0) and save.',
  },
  ENGINE_NOT_HEADLESS: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Set the render engine to Cycles (Render properties > Render Engine) and save.',
  },
  SCENE_UNSUPPORTED: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Switch off the feature that the message names, or render this scene without the farm.',
  },
  SCENE_NOT_BAKED: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Bake what the message names: Physics > Cache > Bake; Scene > Rigid Body World > Cache > Bake; for a fluid set its Cache > Type to All and Bake All; for geometry nodes Bake in the modifier. Then save and submit again: baked caches travel with the scene. Or switch that simulation off for renders.',
  },
  SCENE_UNVERIFIABLE: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Rendered twice, the scene gives two pictures, so nobody can check a node that renders it. Look for what is drawn anew each time: a Displace or other modifier with a Noise texture (take Clouds, or apply the modifier), a driver that reads it or counts, a simulation without a cache (bake it). Render one frame twice in Blender to see where they differ; save and submit again.',
  },
  SCENE_CRASHES: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Blender itself breaks down over this scene, on a fresh start too. Render the frame the message names in Blender on your own machine; the object that was changed last is the usual suspect.',
  },
  SCENE_LOAD_TIMEOUT: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Open the file in Blender: if it hangs there too, go back to the last good copy (.blend1); if it is only slow, apply or lower the heaviest modifiers and simulations.',
  },
  MEMORY_LIMIT: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'The scene needs more memory than this farm gives one session; the message names the limit. Lower subdivision levels, array counts or texture sizes, or use instances in place of copies.',
  },
  OUTPUT_LIMIT: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'The scene writes more than one task may; the message names the limit. Render fewer passes or view layers at a time, or a smaller picture.',
  },
  PROCESS_LIMIT: {
    httpStatus: 422,
    exitCode: 3,
    retryable: false,
    help: 'Something in the scene starts programs, which no picture needs. Remove the scripts and drivers that do.',
  },
  NODE_OUT_OF_MEMORY: {
    httpStatus: 503,
    exitCode: 4,
    retryable: true,
    help: 'This machine has too little memory for the scene; another node gets the task. To take such scenes, give the machine more memory or run fewer sessions on it.',
  },
  BLENDER_NOT_FOUND: {
    httpStatus: 503,
    exitCode: 4,
    retryable: false,
    help: 'Install Blender (Debian and Ubuntu: apt-get install blender python3-numpy python3-openimageio) or name the program with TESSERA_BLENDER.',
  },
  SANDBOX_NOT_FOUND: {
    httpStatus: 503,
    exitCode: 4,
    retryable: false,
    help: 'Install bubblewrap (Debian and Ubuntu: apt-get install bubblewrap). A .blend file is a program in disguise: nothing renders without a sandbox.',
  },
  DOCKER_UNAVAILABLE: {
    httpStatus: 503,
    exitCode: 4,
    retryable: true,
    help: 'Install and start Docker (Debian and Ubuntu: apt-get install docker.io) and let this user use its socket, or do without containers: TESSERA_RUNTIME=process.',
  },
  IMAGE_BUILD_FAILED: {
    httpStatus: 502,
    exitCode: 4,
    retryable: true,
    help: 'The message carries the last words of the build. Mend what it names and run `tessera images build` again; nothing of the failed build is left.',
  },
  ENGINE_NOT_FOUND: {
    httpStatus: 422,
    exitCode: 5,
    retryable: false,
    help: 'Choose one of the engines that the message lists with --engine, or let the farm choose (--engine auto). `tessera images build` adds a newer Blender to a machine.',
  },
  GPU_NOT_FOUND: {
    httpStatus: 422,
    exitCode: 5,
    retryable: false,
    help: 'Let the job run on CPUs (--device any or --device cpu), or add a node whose engine reports a GPU. A job that asks for a GPU is never rendered on a CPU instead.',
  },
  GPU_NOT_USED: {
    httpStatus: 502,
    exitCode: 7,
    retryable: true,
    help: 'Blender took another device than the one its session was opened on; another node gets the task. On the node look at the driver (nvidia-smi), or keep it from GPU work by removing the image or the Blender that the message names.',
  },
  NOT_DISPUTABLE: {
    httpStatus: 409,
    exitCode: 6,
    retryable: false,
    help: 'Only a batch that is not settled can be disputed, once, and only where it was passed or failed. Name what you would dispute before it is judged with --if; a farm without a dispute window settles in the same moment.',
  },
  AUDIT_FAILED: {
    httpStatus: 409,
    exitCode: 1,
    retryable: false,
    help: 'The table says which claim did not hold and by which number. Run it again with the --seed it printed to see the same draw; keep the output, and show it to the operator of the farm and to the node.',
  },
  LEDGER_DIFFERS: {
    httpStatus: 409,
    exitCode: 1,
    retryable: false,
    help: 'The table names each job and batch whose money is not the same in the farm and on the chain, and both amounts. The chain is right; keep the output and the data folder, and report it.',
  },
  VERIFIER_LACKS_DEVICE: {
    httpStatus: 503,
    exitCode: 7,
    retryable: true,
    help: "No node did anything wrong. On the verifier's machine bring back what is gone (the driver of the card, the engine's image, the kind of CPU) and start the farm again; or render on what the message says the verifier has (--engine, --device).",
  },
  PROGRAM_NOT_FOUND: {
    httpStatus: 503,
    exitCode: 4,
    retryable: false,
    help: 'Install the program the message names; `npm run demo` does it by itself on Debian as root.',
  },
  FFMPEG_NOT_FOUND: {
    httpStatus: 503,
    exitCode: 4,
    retryable: false,
    help: 'Install ffmpeg (Debian and Ubuntu: apt-get install ffmpeg). The frames are there without it: `tessera movie` encodes them later.',
  },
  PORT_TAKEN: {
    httpStatus: 503,
    exitCode: 4,
    retryable: true,
    help: 'Stop the program that holds the port, or choose another with --port (0 takes any free one).',
  },
  DISK_FULL: {
    httpStatus: 507,
    exitCode: 4,
    retryable: true,
    help: 'Free some space on the disk that holds the folder, or choose another folder with --data or --out.',
  },
  DATA_FOLDER_IN_USE: {
    httpStatus: 409,
    exitCode: 4,
    retryable: true,
    help: 'A farm is running on this data folder. Use it (tessera render finds it), stop it with Ctrl-C, or choose another with --data.',
  },
  DATA_FOLDER_NEWER: {
    httpStatus: 409,
    exitCode: 4,
    retryable: false,
    help: 'This data folder was written by a newer Tessera. Update this program, or choose another folder with --data.',
  },
  DATABASE_UNREACHABLE: {
    httpStatus: 503,
    exitCode: 5,
    retryable: true,
    help: 'Start the Postgres server, or mend --database-url (TESSERA_DATABASE_URL): postgres://user:password@host:5432/database. Without it the farm keeps its database in its own folder.',
  },
  FARM_UNREACHABLE: {
    httpStatus: 503,
    exitCode: 5,
    retryable: true,
    help: 'Start a farm with `tessera up`, or name one with --farm URL.',
  },
  UNAUTHORIZED: {
    httpStatus: 401,
    exitCode: 5,
    retryable: false,
    help: 'Give the API key of this farm in TESSERA_API_KEY; on the machine of the farm it is read from its data folder. A node or verifier needs the key that the farm knows under its name.',
  },
  NOT_FOUND: {
    httpStatus: 404,
    exitCode: 5,
    retryable: false,
    help: 'Check the id; `tessera jobs` lists the jobs of the farm.',
  },
  BLOB_MISMATCH: {
    httpStatus: 422,
    exitCode: 5,
    retryable: true,
    help: 'The bytes that arrived are not the ones their digest names. Send them again; if it happens twice, look at the network or the disk.',
  },
  TOO_LARGE: {
    httpStatus: 413,
    exitCode: 5,
    retryable: false,
    help: 'Make the input smaller; the message names the limit.',
  },
  MESSAGE_INVALID: {
    httpStatus: 400,
    exitCode: 5,
    retryable: false,
    help: 'The two programs do not speak the same protocol version; update the older one.',
  },
  JOB_ENDED: {
    httpStatus: 409,
    exitCode: 5,
    retryable: false,
    help: 'Nothing of a job that has ended is handed out, so there is nobody to keep away from it. `tessera jobs` lists those that run.',
  },
  BLOCK_STANDS: {
    httpStatus: 409,
    exitCode: 5,
    retryable: false,
    help: 'A verdict keeps the node away from this job, and nobody can take that back. `tessera job show JOB` lists who is kept away by whom.',
  },
  LEASE_LOST: {
    httpStatus: 409,
    exitCode: 5,
    retryable: false,
    help: 'The lease ran out and the task was given to another node, or another one that had it as well was faster. Nothing to do: the node goes on with its next task.',
  },
  BATCH_MOVED: {
    httpStatus: 409,
    exitCode: 5,
    retryable: true,
    help: 'The batch was closed or grew while the node signed. The node signs again over the receipts in the answer.',
  },
  NODE_QUARANTINED: {
    httpStatus: 403,
    exitCode: 5,
    retryable: true,
    help: 'A verdict failed this node, or it failed too many tasks. The message says until when and why.',
  },
  NODE_NOT_SERVED: {
    httpStatus: 409,
    exitCode: 4,
    retryable: false,
    help: 'Run this node with the same Blender on a CPU of the same class as the farm; only what its verifier can render again can be paid.',
  },
  NODE_NOT_REGISTERED: {
    httpStatus: 403,
    exitCode: 5,
    retryable: true,
    help: "The escrow pays only nodes that the registry knows. Start the node again, so that it signs; a node with an operator of its own needs that operator's key or registration.",
  },
  SYNTHETIC_REFUSED: {
    httpStatus: 409,
    exitCode: 4,
    retryable: false,
    help: 'A synthetic engine makes numbers for load tests, and nobody is to pay for them. Run this machine with Blender (TESSERA_RUNTIME=process or docker); only a test farm on the embedded chain that is started with allowSynthetic takes it.',
  },
  CHAIN_UNAVAILABLE: {
    httpStatus: 503,
    exitCode: 6,
    retryable: true,
    help: 'The chain does not answer. Work goes on; payments catch up by themselves as soon as it does.',
  },
  CHAIN_REVERTED: {
    httpStatus: 502,
    exitCode: 6,
    retryable: false,
    help: 'The contract refused the transaction; the message carries its reason. No money moved.',
  },
  CHAIN_WRONG: {
    httpStatus: 502,
    exitCode: 6,
    retryable: false,
    help: 'Point the farm at a node of the chain that its contracts are on; the message names both chains.',
  },
  CHAIN_NOT_READY: {
    httpStatus: 409,
    exitCode: 6,
    retryable: false,
    help: 'Bring what the message names: another file of --contracts, the key of the coordinator, or money for an account; `tessera addresses` lists the accounts of the farm, `tessera join-chain` says what they lack. docs/operate.md goes through all of it.',
  },
  CHAIN_GAS_MONEY: {
    httpStatus: 503,
    exitCode: 6,
    retryable: true,
    help: "Send the chain's own coin to the account that the message names: it pays the gas. Work goes on; payments catch up by themselves.",
  },
  CHAIN_JOURNAL: {
    httpStatus: 500,
    exitCode: 6,
    retryable: false,
    help: 'The file tells which transactions were signed and may be on their way. Give it back its account and chain; if it is broken, look at the account in a block explorer, and once nothing of it is pending move the file away.',
  },
  BUDGET_TOO_LOW: {
    httpStatus: 402,
    exitCode: 6,
    retryable: false,
    help: 'Raise --budget to the amount the message names, or render fewer frames or samples.',
  },
  ACCOUNT_CAP: {
    httpStatus: 402,
    exitCode: 6,
    retryable: false,
    help: 'Render fewer frames or samples, wait until other jobs of the account end and give back what they did not need, or have the operator raise the cap: tessera account NAME --cap-job AMOUNT --cap-total AMOUNT.',
  },
  ACCOUNT_KEY_LOCKED: {
    httpStatus: 503,
    exitCode: 6,
    retryable: true,
    help: 'Start the farm with the master key that the account was made under: accounts.key of its data folder, or TESSERA_ACCOUNTS_KEY. Without it nobody can move what is at the address of the account.',
  },
  QUOTE_STALE: {
    httpStatus: 409,
    exitCode: 6,
    retryable: false,
    help: 'Ask for another quote and sign that one; `tessera render --wallet` does so by itself for a minute. One job of a wallet goes into the escrow at a time.',
  },
  WALLET_REFUSED: {
    httpStatus: 422,
    exitCode: 6,
    retryable: false,
    help: 'Sign exactly the typed data of the quote, both parts, with the key of the wallet that the quote was asked for. Contract wallets cannot pay for jobs here.',
  },
  WALLET_EMPTY: {
    httpStatus: 402,
    exitCode: 6,
    retryable: false,
    help: 'Send the missing amount of the token to the wallet that the message names, or render fewer frames or samples.',
  },
  WALLET_UNREADABLE: {
    httpStatus: 400,
    exitCode: 2,
    retryable: false,
    help: 'Give --wallet an encrypted JSON keystore (version 3, as geth, ethers and most wallets export it) and its password in TESSERA_WALLET_PASSWORD or at the prompt.',
  },
  RENDER_FAILED: {
    httpStatus: 502,
    exitCode: 7,
    retryable: true,
    help: 'Blender stopped while rendering; the message carries its last words. Try the frame in Blender itself.',
  },
  RENDER_TIMEOUT: {
    httpStatus: 504,
    exitCode: 7,
    retryable: true,
    help: 'The task ran past its limit. Use more tiles or fewer samples, so that a task is shorter.',
  },
  PICTURE_UNREADABLE: {
    httpStatus: 422,
    exitCode: 7,
    retryable: false,
    help: 'The file that the message names is damaged or no picture. Fetch it again (tessera wait JOB) or render that frame again.',
  },
  MOVIE_FAILED: {
    httpStatus: 502,
    exitCode: 7,
    retryable: true,
    help: 'Try another --format, or more space on the disk of --out; the message carries the last words of ffmpeg.',
  },
  JOB_FAILED: {
    httpStatus: 502,
    exitCode: 7,
    retryable: false,
    help: 'Too many nodes failed on the same task; the message carries the reason of each. The money that was not spent is back.',
  },
  INTERRUPTED: {
    httpStatus: 499,
    exitCode: 130,
    retryable: true,
    help: 'Stopped on request. A farm that is started again on the same data folder goes on where it was.',
  },
  INTERNAL: {
    httpStatus: 500,
    exitCode: 70,
    retryable: true,
    help: 'This is our mistake. Please report it with the log of the program (the message names the file).',
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** A code that came over a wire; what the table does not have is INTERNAL. */
export function errorCodeOf(text: string): ErrorCode {
  return Object.hasOwn(ERRORS, text) ? (text as ErrorCode) : 'INTERNAL';
}

/** Optional parts of a {@link FarmError}. */
export type FarmErrorOptions = {
  cause?: unknown;
  /** What was kept or undone, in one sentence, where it is not obvious ("nothing was submitted"). */
  kept?: string;
  /** Machine-readable facts for `--json` and problem+json; never a secret. */
  details?: Record<string, unknown>;
};

/** An error that a person may see: what happened (message), what was kept, and, from the table, what to do next. */
export class FarmError extends Error {
  override readonly name = 'FarmError';
  readonly code: ErrorCode;
  readonly kept: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, options: FarmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.kept = options.kept;
    this.details = options.details;
  }

  /** What to do next, from the table. */
  get help(): string {
    return ERRORS[this.code].help;
  }
}

/** True when `error` is a FarmError, and, where `code` is given, has that code. */
export function isFarmError(error: unknown, code?: ErrorCode): error is FarmError {
  return error instanceof FarmError && (code === undefined || error.code === code);
}

/** Nothing can be written to the chain now, whatever it is; the same again goes through once somebody has mended that. */
export function isChainTrouble(error: unknown): error is FarmError {
  return isFarmError(error) && CHAIN_TROUBLE.has(error.code);
}

const CHAIN_TROUBLE: ReadonlySet<ErrorCode> = new Set([
  'CHAIN_UNAVAILABLE',
  'CHAIN_GAS_MONEY',
  'CHAIN_WRONG',
]);

/** Any thrown thing as a FarmError; what is not one already becomes INTERNAL with its cause kept. */
export function toFarmError(error: unknown): FarmError {
  if (error instanceof FarmError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new FarmError('INTERNAL', message, { cause: error });
}

/** The one place that makes an unhandled member of a union a compile error. */
export function assertNever(value: never): never {
  throw new FarmError('INTERNAL', `no case for ${JSON.stringify(value)}`);
}
