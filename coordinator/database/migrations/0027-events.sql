-- Events are asked for by their job. Of two indexes over the same numbers one was written for nothing, twice for each task.
alter table events drop constraint events_pkey;
drop index events_by_job;
alter table events add primary key (job_id, seq);
