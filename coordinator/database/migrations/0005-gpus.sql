-- What a node renders on besides its CPU, one entry per engine and GPU:
-- [{"engine": "blender-4.3.2", "deviceClass": "optix-sm89", "device": "GPU-0123"}].
alter table nodes add column gpus jsonb not null default '[]';
