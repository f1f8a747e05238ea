package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/uplink"
)

// An uplink that gives up is told at once, and tried again.
func TestUplinkThatGivesUp(t *testing.T) {
	j, _, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := &fleetLink{log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.keep(ctx, uplink.New(uplink.Config{Device: "no device's id", Broker: "192.0.2.1:1", Journal: j}))
		}()
		synctest.Wait()
		if l.broken == nil || strings.Count(log.String(), "can't be a device's id") != 1 {
			t.Errorf("%v, log %q", l.broken, log.String())
		}
		time.Sleep(againEvery + time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "nothing is sent to the fleet for now"); n != 2 {
			t.Errorf("told %d times after the second try", n)
		}
		stop()
		<-done
	})
}
