-- Every engine of a node with its device class: {"blender-3.4.1": "cpu-avx2"}. engine and device_class name the first.
alter table nodes add column engines jsonb not null default '{}';

-- The engine that inspected the scene, and the Blender that saved it ({"major": 3, "minor": 4}) where that is known.
alter table scenes add column engine text;
alter table scenes add column saved_with jsonb;
