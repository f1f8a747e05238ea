package main

import (
	"context"
	"log/slog"

	"github.com/sightline-edge/sightline/agent"
)

func serving(ctx context.Context, addr string, a *agent.Agent, log *slog.Logger, run func(context.Context) error, say func(string, ...any)) error {
	return run(ctx)
}
