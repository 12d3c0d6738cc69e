-- Scenes by the digest of their manifest; inspected once, since the same bytes give the same answers.
create table scenes (
  digest text primary key,
  manifest jsonb not null,
  inspection jsonb not null,
  created_at timestamptz not null default now()
);

create table jobs (
  id text primary key,
  -- Order of submission: oldest first is the order of work.
  seq bigserial unique,
  scene text not null references scenes (digest),
  spec jsonb not null,
  warnings jsonb not null,
  state text not null check (state in ('opening', 'active', 'completed', 'failed', 'cancelled')),
  reason text,
  escrow text not null default 'none' check (escrow in ('none', 'open', 'closed')),
  quote numeric(29, 0) not null,
  max_task_price numeric(29, 0) not null,
  deadline_at timestamptz not null,
  spent numeric(29, 0) not null default 0,
  refunded numeric(29, 0) not null default 0,
  created_at timestamptz not null,
  finished_at timestamptz
);

create table frames (
  job_id text not null references jobs (id),
  frame int not null,
  position int not null,
  tiles_total int not null,
  tiles_verified int not null default 0,
  state text not null default 'pending' check (state in ('pending', 'done')),
  exr text,
  picture text,
  primary key (job_id, frame)
);

create table nodes (
  id text primary key,
  address text not null,
  engine text not null,
  device_class text not null,
  last_seen_at timestamptz not null,
  quarantined_until timestamptz,
  reason text,
  tasks_verified int not null default 0,
  tasks_forfeited int not null default 0
);

create table batches (
  id text primary key,
  seq bigserial unique,
  job_id text not null references jobs (id),
  node_id text not null references nodes (id),
  node_address text not null,
  kind text not null check (kind in ('render', 'finish')),
  state text not null check (state in ('open', 'closed', 'committed', 'drawn', 'judged', 'settled')),
  receipts int not null default 0,
  amount numeric(29, 0) not null default 0,
  root text,
  signature text,
  opened_at timestamptz not null,
  seed text,
  -- The verifier's commitment to its own pixels, before it was given the claim.
  crop_digests jsonb,
  outcome text check (outcome in ('pass', 'fail', 'inconclusive')),
  evidence text,
  verdict_signature text
);

-- A node fills one batch per job and kind at a time.
create unique index batches_open on batches (job_id, node_id, kind) where state = 'open';
create index batches_unsettled on batches (seq) where state <> 'settled';

create table tasks (
  id text primary key,
  job_id text not null references jobs (id),
  kind text not null check (kind in ('render', 'finish')),
  frame int not null,
  -- Order of work inside the job.
  position int not null,
  tile int not null,
  x int not null,
  y int not null,
  width int not null,
  height int not null,
  samples int not null,
  price numeric(29, 0) not null,
  state text not null check (state in ('waiting', 'queued', 'leased', 'delivered', 'verified', 'failed', 'dropped')),
  -- Fencing: grows with every lease; a result with an older token is refused.
  token int not null default 0,
  -- Whether the pointer for this stay in the queue was handed to the message server.
  published boolean not null default false,
  node_id text references nodes (id),
  lease_until timestamptz,
  leased_at timestamptz,
  progress real not null default 0,
  losses int not null default 0,
  batch_id text references batches (id),
  batch_index int,
  leaf text,
  receipt jsonb,
  render_ms int
);

create index tasks_by_job on tasks (job_id, state);
create index tasks_leased on tasks (lease_until) where state = 'leased';
create index tasks_unpublished on tasks (id) where state = 'queued' and not published;
create index tasks_by_batch on tasks (batch_id);

create table task_failures (
  task_id text not null references tasks (id),
  node_id text not null references nodes (id),
  failure_class text not null,
  code text not null,
  message text not null,
  at timestamptz not null
);

create index task_failures_by_task on task_failures (task_id);

-- Nodes that may not work on a job any more.
create table job_exclusions (
  job_id text not null references jobs (id),
  node_id text not null references nodes (id),
  reason text not null,
  primary key (job_id, node_id)
);

create table events (
  seq bigserial primary key,
  job_id text not null references jobs (id),
  at timestamptz not null,
  event jsonb not null
);

create index events_by_job on events (job_id, seq);
