-- The list of a frame's files of File Output nodes: the digest of a blob (protocol/extra-files.ts).
alter table frames add column extra_files text;
