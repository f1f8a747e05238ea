package ingest

import (
	"bytes"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

func alone(t *testing.T) *Ingest {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(Config{Store: s, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

// TestStateFlood: a device that sends States of empty stations, two bytes
// each, is refused; one that sends large States is kept one of, and its
// messages count for the transaction.
func TestStateFlood(t *testing.T) {
	in := alone(t)
	empties := bytes.Repeat([]byte{6<<3 | 2, 0}, 60<<10)
	large, err := wire.Marshal(&wire.State{Stations: []*wire.StationState{{Text: string(make([]byte, 120<<10))}}})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range maxOfOne {
		for _, body := range [][]byte{empties, large} {
			var g group
			in.read(&g, message{device: "dev-a", kind: wire.KindState, body: body})
			if g.bytes != len(body) {
				t.Fatalf("%d of %d bytes count", g.bytes, len(body))
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); in.Stats().Unreadable != maxOfOne || in.signs.n != 1 || held > 1<<20 {
		t.Errorf("%d refused, %d signs hold %d bytes", in.Stats().Unreadable, in.signs.n, held)
	}
}

// TestSmallBatchesFillNoDisk: what a device can make of few bytes.
func TestSmallBatchesFillNoDisk(t *testing.T) {
	in := alone(t)
	inner := bytes.Repeat([]byte{10<<3 | 2, 0}, 500<<10) // evidence
	body := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner)
	b := &wire.Batch{Epoch: 1}
	for seq := range uint64(3) {
		b.Items = append(b.Items, wire.Item{First: 1 + seq, Last: 1 + seq, Body: body})
	}
	raw, err := wire.EncodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	var g group
	in.read(&g, message{device: "dev-a", kind: wire.KindEvents, body: raw})
	if g.bytes < 3*len(body) || len(raw) < g.bytes/200 {
		t.Errorf("%d bytes became %d", len(raw), g.bytes)
	}
}
