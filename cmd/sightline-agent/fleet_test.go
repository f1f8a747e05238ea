package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/sync/identity"
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

// An identity that can't be read is told, and taken once a person has mended it.
func TestIdentityThatCannotBeRead(t *testing.T) {
	j, _, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, identity.FolderName), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"device.pem", "ca.pem", "fleet.json"} {
		if err := os.WriteFile(filepath.Join(dir, identity.FolderName, name), []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := &fleetLink{data: dir, journal: j, log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.enrolled(ctx)
		}()
		time.Sleep(5 * lookEvery)
		synctest.Wait()
		if f := l.now(); f == nil || f.Connected || !strings.Contains(f.Error, "identity") || f.Since == nil {
			t.Errorf("%+v", f)
		}
		if n := strings.Count(log.String(), "nothing is sent to the fleet"); n != 1 {
			t.Errorf("told %d times: %s", n, log.String())
		}
		if err := os.RemoveAll(filepath.Join(dir, identity.FolderName)); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if f := l.now(); f != nil {
			t.Errorf("without an identity: %+v", f)
		}
		stop()
		<-done
	})
}
