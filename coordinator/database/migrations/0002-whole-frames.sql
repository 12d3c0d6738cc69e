-- A frame that was not tiled is rendered and finished as one task; its node keeps the EXR until the batch is settled.
alter table batches drop constraint batches_kind_check;
alter table batches add constraint batches_kind_check check (kind in ('render', 'finish', 'frame'));
alter table tasks drop constraint tasks_kind_check;
alter table tasks add constraint tasks_kind_check check (kind in ('render', 'finish', 'frame'));
-- A picture can be looked at before it is verified.
alter table frames drop constraint frames_state_check;
alter table frames add constraint frames_state_check check (state in ('pending', 'unverified', 'done'));
-- When the seed was noted: from then on a node has limited time to hand over what it kept.
alter table batches add column drawn_at timestamptz;
