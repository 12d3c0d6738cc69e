-- What every lease and every delivery asks of a job. Its spec names each frame: of a long animation it has hundreds of
-- kilobytes, which would be unpacked for each candidate.
alter table jobs add column engine text generated always as (spec->>'engine') stored;
alter table jobs add column device_class text generated always as (spec->>'deviceClass') stored;
alter table jobs add column exr boolean generated always as (coalesce((spec->>'exr')::boolean, false)) stored;
-- The next to publish, in the order of work; it was found by sorting everything that was not published.
drop index tasks_unpublished;
create index tasks_unpublished on tasks (job_id, position) where state = 'queued' and not published;
create index batches_growing on batches (job_id, kind) where state = 'open' and receipts > 0;
-- Rows of these change several times in a short life: room for the next version beside them, and the old ones cleared
-- away often, so that finding what is leased now does not slow down with what was.
alter table tasks set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
alter table batches set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
alter table frames set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
alter table nodes set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
-- Of the three versions that a task's row has before it is delivered none is in a batch.
drop index tasks_by_batch;
create index tasks_by_batch on tasks (batch_id) where batch_id is not null;
