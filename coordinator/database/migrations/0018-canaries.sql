-- Batches of the farm's own, whose answer is known, among the others: they find verifiers that do not look
-- (docs/decisions/canaries.md). Job and node of one are rows like any other, so that nothing tells them apart on the way.
alter table jobs add column canary boolean not null default false;
alter table nodes add column canary boolean not null default false;
create table canaries (
  batch_id text primary key references batches (id),
  -- The batch that it was planted beside.
  beside text not null references batches (id),
  -- Whether its pixels are known to be wrong; else they are known to be right.
  bad boolean not null,
  planted_at timestamptz not null
);

-- Whether it was drawn, once it was on chain, if a canary is to be planted beside the batch. Those of before are over.
alter table batches add column rolled boolean not null default false;
update batches set rolled = true;
create index batches_unrolled on batches (opened_at) where not rolled;

-- A word against what is known of a canary, looked at again by the farm itself; and, where it is wrong, what shows that.
alter table verdicts add column rechecked boolean not null default false;
alter table verdicts add column caught text;
alter table verdicts add column caught_at timestamptz;
create index verdicts_caught on verdicts (verifier, caught_at) where caught is not null;
