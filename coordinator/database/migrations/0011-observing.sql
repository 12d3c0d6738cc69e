-- Jobs whose money has not all moved: asked for by settlement and by every look at the metrics.
create index jobs_unclosed on jobs (seq) where escrow <> 'closed';
