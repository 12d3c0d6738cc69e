-- How much of each of hundreds of jobs is on the to-do list is asked many times a second.
create index tasks_published on tasks (job_id) where state = 'queued' and published;
