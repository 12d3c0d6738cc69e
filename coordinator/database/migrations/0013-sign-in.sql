-- Challenges that were answered, until they would have expired: each lets somebody in once.
create table sign_in_nonces (
  nonce text primary key,
  expires_at timestamptz not null
);
