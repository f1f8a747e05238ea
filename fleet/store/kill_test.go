package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

const (
	childPath = "SIGHTLINE_TEST_STORE_CHILD" // in the child: the database's path
	faults    = "SIGHTLINE_FAULTS"           // "full": all of them
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var killed = []string{"dev-a", "dev-b", "dev-c"}

// child ingests for ever, from where each device is, and prints
// "<device> <watermark>" for each mark.
func child(path string) error {
	ctx := context.Background()
	s, err := Open(path)
	if err != nil {
		return err
	}
	at := map[string]uint64{}
	for _, d := range killed {
		m, err := s.Watermark(ctx, d, 1)
		if err != nil || !m.Known {
			return fmt.Errorf("device %s: %+v, %w", d, m, err)
		}
		at[d] = m.Watermark
	}
	for {
		var group []Batch
		for _, d := range killed {
			b := Batch{d, &wire.Batch{Epoch: 1}}
			from := at[d] - min(at[d], rand.Uint64N(10)) // some of it again
			for i := range 1 + rand.Uint64N(40) {
				b.Batch.Items = append(b.Batch.Items, killedItem(from+1+i))
			}
			group = append(group, b)
		}
		marks, err := s.Ingest(ctx, group)
		if err != nil {
			return err
		}
		for _, m := range marks {
			at[m.Device] = m.Watermark
			fmt.Println(m.Device, m.Watermark)
		}
	}
}

// killedItem is the record of that number: each seventh amends the one before.
func killedItem(seq uint64) wire.Item {
	if seq%7 == 0 {
		return told(seq, seq-1, vision.Fail, "amended")
	}
	return record(seq, vision.Pass)
}

// TestKill: a child ingests and is killed with -9 at any moment; all that it
// said was committed is there, once, and the watermark is that of the rows.
func TestKill(t *testing.T) {
	times := 20
	if os.Getenv(faults) == "full" {
		times = 200
	}
	path := filepath.Join(t.TempDir(), "fleet.db")
	with(t, path, func(s *Store) { enrol(t, s, killed...) })
	acked := map[string]uint64{}
	for range times {
		runAndKill(t, path, rand.IntN(30), acked)
		t.Run("check", func(t *testing.T) { checkKilled(t, path, acked) })
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills: up to %v was acknowledged, and all is there", times, acked)
}

func runAndKill(t *testing.T, path string, lines int, acked map[string]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		var device string
		var watermark uint64
		if _, err := fmt.Sscan(in.Text(), &device, &watermark); err != nil || watermark < acked[device] {
			t.Errorf("the child said %q after %d", in.Text(), acked[device])
		}
		acked[device] = watermark
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the child ended with %v before it was killed", err)
	}
}

// TestKilledWhileMade: a database that was being made can be opened.
func TestKilledWhileMade(t *testing.T) {
	times := 20
	if os.Getenv(faults) == "full" {
		times = 400
	}
	dir := t.TempDir()
	for i := range times {
		path := filepath.Join(dir, fmt.Sprint(i), "fleet.db")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childPath+"="+path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(rand.N(60 * time.Millisecond)) // anywhere; the child ends by itself where it has opened
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, or ended as no device is enrolled
		with(t, path, func(s *Store) { enrol(t, s, "dev-a") })
	}
}

// with opens and closes.
func with(t *testing.T, path string, do func(*Store)) {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	do(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func checkKilled(t *testing.T, path string, acked map[string]uint64) {
	t.Helper()
	s := open(t, path)
	for _, d := range killed {
		m, err := s.Watermark(t.Context(), d, 1)
		if err != nil || m.Watermark < acked[d] {
			t.Fatalf("device %s is at %+v, %v; acknowledged was %d", d, m, err, acked[d])
		}
		next := m.Watermark
		q, more := Query{Device: d, Limit: maxLimit}, true
		want := Totals{}
		for more {
			var page []Row
			if page, more, err = s.Results(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				verdict := vision.Pass
				if next%7 == 0 {
					next, verdict = next-1, vision.Fail
				}
				if r.Seq != next || r.Verdict != verdict || (r.Told != nil) != (verdict == vision.Fail) {
					t.Fatalf("device %s: record %d is told %v, expected record %d, told %v", d, r.Seq, r.Verdict, next, verdict)
				}
				next--
				q.Before = r.ID
				want.Results++
				want.Pass += uint64(vision.Fail - verdict)
				want.Fail += uint64(verdict - vision.Pass)
			}
		}
		if next != 0 {
			t.Fatalf("device %s: the records up to %d of %d are missing", d, next, m.Watermark)
		}
		totals(t, s, d, want)
	}
	var ok string
	if err := s.reader.QueryRow(`PRAGMA integrity_check`).Scan(&ok); err != nil || ok != "ok" {
		t.Errorf("integrity: %s, %v", ok, err)
	}
}
