-- What a node has in flight, and what it has delivered in a job, are asked for with every lease.
create index tasks_leased_by_node on tasks (node_id) where state = 'leased';
create index batches_by_node on batches (job_id, node_id);
