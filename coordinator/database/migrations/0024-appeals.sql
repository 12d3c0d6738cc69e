-- A node's answer to a failed batch, once for every draw of it (docs/protocol.md, "A node that was failed wrongly").
create table appeals (
  batch_id text not null references batches (id),
  seed text not null,
  answered_at timestamptz not null,
  -- In the node's words.
  reason text not null,
  -- What its operator signed, as it travelled; null: it does not appeal.
  dispute jsonb,
  -- Why the escrow took none of it, where it did not: the judgement stands.
  refused text,
  primary key (batch_id, seed)
);
-- Whether the node wants to hear of failed batches, as it said in its last hello.
alter table nodes add column appeals boolean not null default false;
-- When the judgement was noted here.
alter table batches add column judged_at timestamptz;
create index batches_failed on batches (node_id) where state = 'judged' and outcome = 'fail';
