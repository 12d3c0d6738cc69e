/** `tessera job`: one job as the farm shows it, and the nodes that a person keeps away from it. */
import { userInfo } from 'node:os';
import { toJson } from '../platform/json.ts';
import { type Block, type BlockView, blockSchema, type Unblock } from '../protocol/blocks.ts';
import { FarmError } from '../protocol/errors.ts';
import { type JobId, jobIdSchema, nodeIdSchema, taskIdSchema } from '../protocol/ids.ts';
import type { JobView } from '../protocol/job.ts';
import { formatTokens } from './render/parse-options.ts';
import type { Terminal } from './terminal.ts';

export type BlockOptions = { node: string; task?: string; by?: string; json?: boolean };

/** Checked before a farm is looked for. */
export function jobIdOf(text: string): JobId {
  const id = jobIdSchema.safeParse(text);
  if (!id.success) throw new FarmError('NOT_FOUND', `${text} is not the id of a job`);
  return id.data;
}

/** Who is logged in; in a container that may be a number without a name. */
export function loggedIn(): string {
  try {
    return userInfo().username;
  } catch {
    return '';
  }
}

/** What is asked of the farm. `user`: who is logged in, where no name is given. */
export function unblockOf({ node, task, by }: BlockOptions, user: string): Unblock {
  const nodeId = nodeIdSchema.safeParse(node);
  if (!nodeId.success) throw new FarmError('NOT_FOUND', `${node} is not the name of a node`);
  const taskId = task === undefined ? undefined : taskIdSchema.safeParse(task);
  if (taskId?.success === false) throw new FarmError('NOT_FOUND', `${task} is not the id of a task`);
  const name = blockSchema.shape.by.safeParse(by ?? user);
  if (!name.success)
    throw new FarmError('USAGE', `--by ${JSON.stringify(by ?? user)}: say a name on one line`);
  return { nodeId: nodeId.data, ...(taskId !== undefined && { taskId: taskId.data }), by: name.data };
}

export function blockOf(reason: string | undefined, options: BlockOptions, user: string): Block {
  const said = blockSchema.shape.reason.safeParse(reason ?? 'no reason was given');
  if (!said.success) throw new FarmError('USAGE', 'the reason has to be one line of at most 500 characters');
  return { ...unblockOf(options, user), reason: said.data };
}

export function printJob(job: JobView, { json }: { json?: boolean }, terminal: Terminal): void {
  const lines = json === true ? [toJson({ job })] : jobLines(job);
  for (const line of lines) terminal.result(line);
}

/** The job, then who is kept away from it. */
export function jobLines(job: JobView): string[] {
  const { tasks } = job;
  const why = job.reason === null ? '' : ` (${job.reason})`;
  return [
    `${job.id}  ${job.state}${why}  ${Math.floor(job.progress * 100)} %  ${job.name}`,
    `  tasks: ${tasks.total}, of which ${tasks.verified} paid, ${tasks.delivered} being checked, ${tasks.leased} being rendered, ${tasks.queued} waiting`,
    `  ${formatTokens(job.spent)} of at most ${formatTokens(job.quote)} TESS are spent; account ${job.account}, priority ${job.priority}`,
    ...job.blocks.map((one) => `  ${blockLine(one)}`),
  ];
}

export function blockLine({ nodeId, taskId, by, reason }: BlockView): string {
  const what = taskId === null ? 'it' : taskId;
  return `${nodeId} is kept away from ${what} by ${by ?? 'a verdict'}: ${reason}`;
}
