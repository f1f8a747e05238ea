package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/systemd"
)

// managed tells the service manager, where there is one, that the agent is up,
// feeds its watchdog while the agent makes progress, and tells that it stops.
// That the manager can't be told never ends the agent.
func managed(ctx context.Context, a *agent.Agent, log *slog.Logger) error {
	warn := func(err error) {
		if err != nil {
			log.Warn("service manager", "err", err)
		}
	}
	warn(systemd.Ready())
	warn(systemd.Watchdog(ctx, func() bool { return a.Alive(time.Now()) }))
	<-ctx.Done()
	warn(systemd.Stopping())
	return nil
}
