package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// smallDisk mounts a tmpfs of that size.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("left out: a small tmpfs can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestDiskFull: a full disk takes nothing, not even half a transaction, and
// loses nothing; with room again the store goes on by itself, open or opened
// anew.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	ballast := filepath.Join(dir, "ballast")
	path := filepath.Join(dir, "fleet.db")
	s := open(t, path)
	enrol(t, s, "dev-a", "dev-b")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	at := map[string]uint64{}
	fill := func() error {
		for {
			var group []Batch
			for _, d := range []string{"dev-a", "dev-b"} {
				b := Batch{d, &wire.Batch{Epoch: 1}}
				for i := range uint64(20) {
					b.Batch.Items = append(b.Batch.Items, record(at[d]+1+i, vision.Pass))
				}
				group = append(group, b)
			}
			marks, err := s.Ingest(t.Context(), group)
			if err != nil {
				return err
			}
			for _, m := range marks {
				at[m.Device] = m.Watermark
			}
		}
	}
	whole := func() {
		t.Helper()
		for d, watermark := range at {
			m, err := s.Watermark(t.Context(), d, 1)
			if err != nil || m.Watermark != watermark {
				t.Errorf("device %s is at %+v, %v, want %d", d, m, err, watermark)
			}
			totals(t, s, d, Totals{Results: watermark, Pass: watermark})
		}
	}
	for range 3 {
		if err := fill(); !errors.Is(err, ErrFull) {
			t.Fatalf("after %v: %v", at, err)
		}
		whole()
	}
	long := &wire.State{Stations: []*wire.StationState{{Text: strings.Repeat("long ", 1<<18)}}}
	if err := s.Heard(t.Context(), []Sign{{Device: "dev-a", At: s.Now(), State: long}}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	before := at["dev-a"]
	if before == 0 {
		t.Fatal("nothing fitted")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := fill(); !errors.Is(err, ErrFull) || at["dev-a"] <= before {
		t.Fatalf("with room again: %d, then %d, %v", before, at["dev-a"], err)
	}
	whole()
	if rows := results(t, s, Query{Limit: maxLimit}); uint64(rows[0].ID) != 2*at["dev-a"] {
		t.Errorf("the newest is %d of %d", rows[0].ID, 2*at["dev-a"])
	}
	t.Logf("%d records fitted, %d more with room again", 2*before, 2*(at["dev-a"]-before))
}

// TestNoRoomToBegin: there isn't even room for an empty database.
func TestNoRoomToBegin(t *testing.T) {
	dir := smallDisk(t, 64<<10)
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 60<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "fleet.db")
	if s, err := Open(path); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, %v", s, err)
	}
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(path); !errors.Is(err, ErrFull) {
		t.Errorf("with a little room: got %v, %v", s, err)
	}
}
