-- Tasks that two nodes work on (coordinator/scheduling/copies). The newer lease, the copy, is the task's own, in tasks; here is the
-- older one, which goes on beside it until one of the two delivers. It holds while the task is leased under the next token,
-- so whatever ends the task's lease ends this one too without knowing of it.
create table task_copies (
  task_id text primary key references tasks (id),
  node_id text not null references nodes (id),
  token int not null,
  lease_until timestamptz not null,
  leased_at timestamptz not null,
  progress real not null default 0,
  -- The node with the copy is gone: the task is this node's again, under the token that it knows.
  alone boolean not null default false
);
