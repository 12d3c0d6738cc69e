-- Whose job it is, and its share of that account's nodes: 80 beside 20 gets four times as many.
alter table jobs add column account text not null default 'default';
alter table jobs add column priority int not null default 50 check (priority between 1 and 100);
-- Nodes that may work on it at once, and the pool they have to be of; null: any.
alter table jobs add column max_nodes int check (max_nodes > 0);
alter table jobs add column pool text;
-- Where its virtual time began, and its account's (coordinator/scheduling/matching/fair-share.ts).
alter table jobs add column share_base double precision;
create table accounts (
  name text primary key,
  max_nodes int check (max_nodes > 0),
  share_base double precision
);
alter table nodes add column pools jsonb not null default '[]';

-- Node time that was used: rows are only added, and added up now and then, so that no two results wait for each other.
create table node_time (
  account text not null,
  -- Null: jobs that have ended.
  job_id text references jobs (id),
  ms double precision not null,
  tasks double precision not null
);
create index jobs_active on jobs (seq) where state = 'active';

-- The frames of a job that are not rows yet (coordinator/splitting/move-windows.ts): all of them as runs, how many there are, and
-- how many are rows. Jobs of before have all their rows, and their frames in the spec.
alter table jobs add column frame_runs jsonb;
alter table jobs add column frames_total int not null default 0;
alter table jobs add column frames_begun int not null default 0;
alter table jobs add column preview_first boolean not null default false;
alter table jobs add column tasks_total int not null default 0;
-- Counted as it happens, since finished rows are too many to count again for every look.
alter table jobs add column tasks_verified int not null default 0;
alter table jobs add column frames_done int not null default 0;
update jobs j set
  tasks_total = (select count(*) from tasks t where t.job_id = j.id),
  tasks_verified = (select count(*) from tasks t where t.job_id = j.id and t.state = 'verified'),
  frames_total = (select count(*) from frames f where f.job_id = j.id),
  frames_begun = (select count(*) from frames f where f.job_id = j.id),
  frames_done = (select count(*) from frames f where f.job_id = j.id and f.state = 'done');
