/** `tessera job`: what is asked of the farm, and how a job is shown. */
import { describe, expect, it } from 'vitest';
import { blockLine, blockOf, jobIdOf, unblockOf } from '../../cli/job-command.ts';
import { nodeIdSchema, taskIdSchema } from '../../protocol/ids.ts';

describe('what is said of a node', () => {
  it('has the reason, and the name of the user where no other is given', () => {
    expect(blockOf('too dark', { node: 'north' }, 'ada')).toEqual({
      nodeId: 'north',
      by: 'ada',
      reason: 'too dark',
    });
    expect(blockOf(undefined, { node: 'north', task: 'task_abc', by: 'bob' }, 'ada')).toEqual({
      ...{ nodeId: 'north', taskId: 'task_abc', by: 'bob' },
      reason: 'no reason was given',
    });
    expect(unblockOf({ node: 'north' }, 'ada')).toEqual({ nodeId: 'north', by: 'ada' });
  });

  it.each([
    [() => blockOf('two\nlines', { node: 'north' }, 'ada'), 'the reason has to be one line'],
    [() => blockOf('', { node: 'north' }, 'ada'), 'the reason has to be one line'],
    [() => blockOf('x', { node: 'no such name' }, 'ada'), 'no such name is not the name of a node'],
    [() => blockOf('x', { node: 'north', task: 'seven' }, 'ada'), 'seven is not the id of a task'],
    [() => blockOf('x', { node: 'north', by: '\u001b[2J' }, 'ada'), '--by'],
    [() => jobIdOf('seven'), 'seven is not the id of a job'],
  ])('is refused before a farm is looked for', (ask, words) => {
    expect(ask).toThrow(words);
  });

  it('is shown with who said it, or that it was a verdict', () => {
    const nodeId = nodeIdSchema.parse('north');
    const said = { nodeId, taskId: null, by: 'ada', reason: 'too dark', atMs: 1 };
    expect(blockLine(said)).toBe('north is kept away from it by ada: too dark');
    const taskId = taskIdSchema.parse('task_abc');
    expect(blockLine({ ...said, taskId })).toBe('north is kept away from task_abc by ada: too dark');
    expect(blockLine({ ...said, by: null })).toBe('north is kept away from it by a verdict: too dark');
  });
});
