-- Tiles that are delivered, checked or not: a frame is finished as soon as all of them are.
alter table frames add column tiles_delivered int not null default 0;
update frames f set tiles_delivered = (
  select count(*) from tasks t
  where t.job_id = f.job_id and t.frame = f.frame and t.kind = 'render' and t.state in ('delivered', 'verified'));
create index tasks_finish on tasks (job_id, frame) where kind = 'finish';
