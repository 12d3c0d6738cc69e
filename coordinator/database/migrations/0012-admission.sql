-- Whether a scene renders the same twice, once tried: of one engine, device class and choice of frames ("1,48").
create table scene_trials (
  scene text not null references scenes (digest),
  engine text not null,
  device_class text not null,
  frames text not null,
  same boolean not null,
  -- Where the two pictures were furthest apart (coordinator/admission/judge-strips.ts).
  finding jsonb not null,
  tried_at timestamptz not null,
  primary key (scene, engine, device_class, frames)
);

-- Nothing of a job goes on chain unless it is admitted. Those that were taken before are.
alter table jobs add column admission text not null default 'pending'
  check (admission in ('pending', 'admitted', 'refused', 'untried'));
update jobs set admission = 'admitted';
create index jobs_unadmitted on jobs (seq) where admission = 'pending';
