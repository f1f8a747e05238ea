package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/api"
)

// serving runs the agent and answers for it at addr meanwhile, beside others
// that work with it; without an address it only runs the agent.
func serving(ctx context.Context, addr string, a *agent.Agent, log *slog.Logger, say func(string, ...any), others ...func(context.Context) error) error {
	if addr == "" {
		return a.Run(ctx)
	}
	l, err := listen(addr, "")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { // first: parts go by while the page is put together
		defer stop()
		return a.Run(ctx)
	})
	select {
	case <-a.Begun():
	case <-ctx.Done():
	}
	g.Go(func() error {
		var server *api.Server
		err := humbly(startNice, func() (err error) {
			server, err = api.New(api.Config{Source: a.Source(), Log: log, Guests: a.Guests()})
			return err
		})
		if err != nil {
			return errors.Join(err, l.Close())
		}
		say("open http://%s", l.Addr())
		return server.Run(ctx, l)
	})
	g.Go(func() error { return managed(ctx, a, log) })
	for _, run := range others {
		g.Go(func() error { return run(ctx) })
	}
	return g.Wait()
}

// listen takes an address; another says how to choose another port.
func listen(addr, another string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("answer at %s: another program does already: stop that one, or choose another port%s", addr, another)
	} else if err != nil {
		return nil, fmt.Errorf("answer at %s: %w", addr, err)
	}
	return l, nil
}
