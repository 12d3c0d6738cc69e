-- Who keeps a node away from a job, and since when: null is a verdict, else a person, as they call themselves.
alter table job_exclusions add column set_by text;
alter table job_exclusions add column set_at timestamptz;

-- The same for one task; here it is always a person (coordinator/scheduling/blocks.ts).
create table task_blocks (
  task_id text not null references tasks (id),
  node_id text not null references nodes (id),
  job_id text not null references jobs (id),
  reason text not null,
  set_by text not null,
  set_at timestamptz not null,
  primary key (task_id, node_id)
);
create index task_blocks_by_job on task_blocks (job_id);
