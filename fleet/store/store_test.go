package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// open opens a store that is closed at the test's end.
func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fresh(t testing.TB) *Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "data", "fleet.db"))
}

// enrol adds devices as enrolment does.
func enrol(t testing.TB, s *Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		var key [32]byte
		copy(key[:], id)
		if err := s.AddEnrolToken(t.Context(), EnrolToken{Key: key, Group: "line4", Expires: s.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddDevice(t.Context(), Device{ID: id, Label: "of " + id}, key); err != nil {
			t.Fatal(err)
		}
	}
}

// record is a result's item.
func record(seq uint64, verdict vision.Verdict, change ...func(*wire.Result)) wire.Item {
	p := vision.Part{ID: fmt.Sprintf("part-%d", seq), Label: "bottle", Score: 0.75, Box: vision.Box{X: 1, Y: 2, W: 30, H: 40}, Frames: 9,
		Defects: []vision.Evidence{{Label: "scratch", Score: 0.5, Frames: 3}}, Seen: decided.Add(-time.Second), LastSeen: decided.Add(-time.Millisecond)}
	d := vision.Decision{Verdict: verdict, Reason: strings.ToLower(verdict.String())}
	r := wire.NewResult(&p, &d, decided.Add(time.Duration(seq)*time.Second))
	r.Station, r.Line, r.Camera, r.Model, r.Rule = "st1", "line4", "cam-a", "parts", "threshold:defect>0.5"
	for _, c := range change {
		c(r)
	}
	return item(seq, &wire.Record{Kind: &wire.Record_Result{Result: r}})
}

var decided = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

func item(seq uint64, r *wire.Record) wire.Item {
	b, err := wire.Encode(r)
	if err != nil {
		panic(err)
	}
	return wire.Item{First: seq, Last: seq, Body: b}
}

func told(seq, of uint64, verdict vision.Verdict, reason string) wire.Item {
	return item(seq, &wire.Record{Kind: &wire.Record_Told{Told: &wire.Told{Seq: of,
		Answer: &wire.Answer{Verdict: wire.NewVerdict(verdict), Reason: reason}}}})
}

func hole(h *wire.Hole) wire.Item {
	it, err := wire.NewHole(h)
	if err != nil {
		panic(err)
	}
	return it
}

func batch(device string, epoch uint64, items ...wire.Item) Batch {
	return Batch{device, &wire.Batch{Epoch: epoch, Items: items}}
}

// take ingests and wants so many watermarks.
func take(t testing.TB, s *Store, want []uint64, batches ...Batch) []Mark {
	t.Helper()
	marks, err := s.Ingest(t.Context(), batches)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range marks {
		if m.Watermark != want[i] || m.Device != batches[i].Device || m.Epoch != batches[i].Batch.Epoch {
			t.Fatalf("batch %d: got %+v, want watermark %d", i, m, want[i])
		}
	}
	return marks
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder? 100%", "fleet.db")
	s := open(t, path)
	enrol(t, s, "dev-a")
	for name, want := range map[string]os.FileMode{"": 0o700 | os.ModeDir, "fleet.db": 0o600, "fleet.db-wal": 0o600} {
		st, err := os.Stat(filepath.Join(filepath.Dir(path), name))
		if err != nil || st.Mode() != want {
			t.Errorf("%q: %v, %v, want %v", name, st.Mode(), err, want)
		}
	}
	other := open(t, path) // such as a command that adds a user
	if err := other.AddUser(t.Context(), User{Name: "ann", Role: auth.Admin}); err != nil {
		t.Error(err)
	}
	if u, err := s.User(t.Context(), "ann"); err != nil || u.Role != auth.Admin {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestNotOurs(t *testing.T) {
	dir := t.TempDir()
	newer, foreign, garbage := filepath.Join(dir, "newer.db"), filepath.Join(dir, "foreign.db"), filepath.Join(dir, "garbage.db")
	for path, text := range map[string]string{
		newer:   `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`,
		foreign: `PRAGMA application_id = 7`,
	} {
		s := open(t, path)
		if _, err := s.writer.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		err  error
		text string
	}{
		newer:   {ErrNewer, "version 99999, this program knows up to "},
		foreign: {nil, "another program's"},
		garbage: {ErrDamaged, "move " + garbage},
		dir:     {nil, "unable to open"},
	} {
		_, err := Open(path)
		if err == nil || want.err != nil && !errors.Is(err, want.err) || !strings.Contains(err.Error(), want.text) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// TestDamaged: what a disk made of the file is told as such, with what to do.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	with(t, path, func(s *Store) {
		enrol(t, s, "dev-a")
		b := batch("dev-a", 1)
		for seq := range uint64(500) {
			b.Batch.Items = append(b.Batch.Items, record(seq+1, vision.Pass))
		}
		take(t, s, []uint64{500}, b)
	})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := len(text) / 2; at < len(text); at++ { // the first half has the schema
		text[at] ^= 0x55
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	_, _, err = s.Results(t.Context(), Query{})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move "+path) {
		t.Errorf("got %v", err)
	}
	if _, err = s.Ingest(t.Context(), []Batch{batch("dev-a", 1, record(501, vision.Pass))}); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

// TestTokenUsedTwice: of many that enrol with one token at once, one does.
func TestTokenUsedTwice(t *testing.T) {
	s := fresh(t)
	token := EnrolToken{Key: [32]byte{1}, Group: "line4", Expires: s.Now().Add(time.Hour)}
	if err := s.AddEnrolToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	results := make([]error, 16)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() {
			results[i] = s.AddDevice(t.Context(), Device{ID: fmt.Sprintf("dev-%d", i), Group: "mine"}, token.Key)
		})
	}
	all.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrUsed) {
			t.Error(err)
		}
	}
	devices, err := s.Devices(t.Context())
	if err != nil || won != 1 || len(devices) != 1 || devices[0].Group != "line4" {
		t.Errorf("%d enrolled: %+v, %v", won, devices, err)
	}
}
