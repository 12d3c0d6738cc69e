-- A batch's name on chain: node, lane, generation (platform/chain/keys.ts). A lane holds one unsettled batch of a node.
alter table batches add column lane int;
alter table batches add column generation bigint;
alter table batches add column chain_key text;

-- What the chain says of the batch beside its state: whose word or secret is awaited, and, once judged, what of it.
alter table batches add column asked jsonb not null default '[]';
alter table batches add column agreed boolean not null default false;
alter table batches add column slashed numeric(29, 0) not null default 0;
-- Drawn EXRs that were missing when the node's time was up: they stay missing for every verifier of this draw.
alter table batches add column withheld jsonb;
-- The judgement that the farm's own account disputes, should it come to that.
alter table batches add column doubted text check (doubted in ('pass', 'fail'));

alter table batches drop constraint batches_state_check;
alter table batches add constraint batches_state_check check
  (state in ('open', 'closed', 'committed', 'drawn', 'second', 'committee', 'judged', 'settled'));

-- What each verifier committed to and said, per draw: on another seed it is worthless.
create table verdicts (
  seq bigserial unique,
  batch_id text not null references batches (id),
  seed text not null,
  -- Address; empty for the one verifier of a farm of before there were several.
  verifier text not null,
  verifier_id text not null,
  role text not null check (role in ('first', 'second', 'committee')),
  -- Its commitment to its own pixels, before it was given the claim.
  crop_digests jsonb not null,
  outcome text check (outcome in ('pass', 'fail', 'inconclusive')),
  evidence text,
  reason text not null default '',
  signature text,
  primary key (batch_id, seed, verifier)
);
insert into verdicts (batch_id, seed, verifier, verifier_id, role, crop_digests, outcome, evidence, signature)
  select id, seed, '', 'verifier', 'first', coalesce(crop_digests, '[]'), outcome, evidence, verdict_signature
  from batches where state = 'settled' and seed is not null and evidence is not null;
alter table batches drop column crop_digests;
alter table batches drop column verdict_signature;

-- The escrow of before took other signatures: what it had not settled is signed anew, or rendered again.
update batches b set lane = l.lane, generation = 1, signature = null, seed = null, outcome = null, evidence = null,
                     chain_key = '0x' || substr(b.node_address, 3) || lpad(to_hex(l.lane), 8, '0') || lpad('1', 16, '0'),
                     state = case when b.state = 'open' then 'open' else 'closed' end
from (select id, (row_number() over (partition by node_address order by seq) - 1)::int as lane
      from batches where state <> 'settled') l
where l.id = b.id;

create unique index batches_lanes on batches (node_address, lane) where state <> 'settled';
create unique index batches_generations on batches (node_address, lane, generation);

-- The operator that the registry names for the node; null: not registered, so it gets no work.
alter table nodes add column operator text;
-- What the operator signed to be registered and staked, in case a chain that was killed has forgotten it.
alter table nodes add column enrolment jsonb;
alter table nodes add column slashed numeric(29, 0) not null default 0;
