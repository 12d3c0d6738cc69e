/** docs/states.md, made from the machines. */
import { type StateMachine, statesOf } from './machine.ts';

const HEAD = `# States

Made from \`coordinator/states/\` by \`node scripts/write-docs.mjs\`. What is not in these tables cannot happen: the
coordinator asks them, and triggers made from them at every start refuse it in the database. The last two are the contracts'.
`;

export function statesPage(machines: readonly StateMachine[]): string {
  return `${HEAD}\n${machines.map(section).join('\n')}`;
}

function section(machine: StateMachine): string {
  const { name, table, states, initial, final, edges } = machine;
  const elsewhere = machine.kept ?? 'Not stored: it follows from other columns.';
  const stored = table === null ? elsewhere : `Stored in \`${table}.state\`.`;
  const arrows = [
    ...initial.map((state) => `  [*] --> ${state}`),
    ...edges.map(({ from, to, events }) => `  ${from} --> ${to}: ${events.join(', ')}`),
    ...final.map((state) => `  ${state} --> [*]`),
  ];
  const meanings = statesOf(machine).map((state) => [state, states[state] ?? '']);
  const rows = edges.map(({ from, to, events, reason }) => [from, to, events.join(', '), reason]);
  return [
    `## ${name[0]?.toUpperCase()}${name.slice(1)}\n`,
    `${stored}\n`,
    `\`\`\`mermaid\nstateDiagram-v2\n${arrows.join('\n')}\n\`\`\`\n`,
    markdownTable(['state', 'means'], meanings),
    markdownTable(['from', 'to', 'event', 'why'], rows),
  ].join('\n');
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n');
}
