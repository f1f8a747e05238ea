-- +goose Up
-- The ID of the trigger that asked for the inspection, and the recipe that was
-- active: empty without. Results that came before have none.
ALTER TABLE result ADD COLUMN trigger_id TEXT NOT NULL DEFAULT '';
ALTER TABLE result ADD COLUMN recipe TEXT NOT NULL DEFAULT '';
CREATE INDEX result_trigger ON result (trigger_id) WHERE trigger_id <> '';
CREATE INDEX result_recipe ON result (recipe) WHERE recipe <> '';
