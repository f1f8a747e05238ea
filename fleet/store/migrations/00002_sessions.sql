-- +goose Up
-- When a login on the pages began: it ends for good some time after, however
-- much it is used. Those of before have no beginning and are over.
ALTER TABLE session ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
