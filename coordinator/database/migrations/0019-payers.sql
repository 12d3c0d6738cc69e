-- Whose money a job is: null is the farm's own account, as it was for all jobs before. With wallet_terms it is a wallet
-- whose key only its owner has: what it signed for this job (docs/decisions/accounts.md).
alter table jobs add column requester text;
alter table jobs add column wallet_terms jsonb;
-- A wallet's permits are used in their order, so one of its jobs is on its way into the escrow at a time.
create unique index jobs_wallet_opening on jobs (requester)
  where wallet_terms is not null and escrow = 'none' and state = 'opening';

-- An account's own address with its key, encrypted (platform/chain/sealed-key.ts), and the most that it may spend.
alter table accounts add column address text;
alter table accounts add column sealed_key text;
alter table accounts add column cap_per_job numeric(29, 0);
alter table accounts add column cap_in_all numeric(29, 0);
