package journal

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/sync/wire"
)

const (
	retainDir   = "SIGHTLINE_TEST_JOURNAL_RETAIN" // in the child: the journal's folder
	retainLimit = 200 << 10
	window      = 40 // records in flight; far fewer than the limit holds, so that what is amended is there
)

// What record seq is follows from its number, so that the parent knows it of
// those too whose acknowledgement it never read: each seventh amends the one
// three before it, each eleventh is no result.
func retained(seq uint64) (body []byte, amends uint64, err error) {
	name := fmt.Sprint("part ", seq)
	switch {
	case seq%7 == 0:
		body, err = wire.EncodeTold(&wire.Told{Seq: seq - 3, Answer: &wire.Answer{Reason: name}})
		return body, seq - 3, err
	case seq%11 == 0:
		return []byte(name), 0, nil
	}
	body, err = wire.EncodeResult(&wire.Result{PartId: name, Verdict: verdictOf(seq), Reason: strings.Repeat("x", int(seq*7919%1500))})
	return body, 0, err
}

// retainChild appends for ever under a limit and acknowledges at random. It
// prints "acks <number>" before it acknowledges, and a record's number once
// that is on disk.
func retainChild(dir string) error {
	j, opened, err := Open(dir)
	if err != nil || opened != (Opened{}) {
		return fmt.Errorf("after a kill: %+v, %w", opened, err)
	}
	j.Retain(retainLimit)
	out := make(chan string)
	go func() {
		for line := range out {
			_, _ = os.Stdout.WriteString(line) // the parent's end closes only with it
		}
	}()
	flight := make(chan *Pending, window)
	go func() {
		for seq := j.Stats().Last + 1; ; seq++ {
			body, amends, err := retained(seq)
			switch {
			case err != nil:
				out <- fmt.Sprintln("error", err)
			case amends != 0:
				flight <- j.Amend(amends, body)
			default:
				flight <- j.Append(body)
			}
		}
	}()
	go func() {
		for p := range flight {
			<-p.Done()
			seq, err := p.Result()
			if err != nil {
				out <- fmt.Sprintln("error", err)
			}
			out <- fmt.Sprintln(seq)
			if rand.IntN(100) == 0 {
				ack := rand.Uint64N(seq + 1)
				out <- fmt.Sprintln("acks", ack)
				if err := j.Acknowledge(j.Epoch(), ack); err != nil {
					out <- fmt.Sprintln("error", err)
				}
			}
		}
	}()
	return j.Run(context.Background())
}

// TestKillWithRetention: a child that appends under a limit is killed at any
// moment. Every record that it said was on disk is there afterwards or in
// exactly one hole, the holes' counts are exact, and no number is missing.
func TestKillWithRetention(t *testing.T) {
	times := 12
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		times = 300
	}
	dir := t.TempDir()
	var last, acked uint64 // that the child has told
	holes, dropped := 0, uint64(0)
	for range times {
		last, acked = runRetainChild(t, dir, 1+rand.IntN(2000), last, acked)
		j := stepped(t, dir, retainLimit)
		s := j.Stats()
		if s.Last < last || s.Acknowledged > acked || s.Dropped+s.DroppedAcked != s.First-1 || s.Bad != 0 {
			t.Errorf("stats %+v; the child had %d and acknowledged %d", s, last, acked)
		}
		holes += checkRetained(t, allOf(t, j, 0, wire.MaxBatchItems, 1<<20), s)
		dropped = s.Dropped + s.DroppedAcked
		if err := j.Close(); err != nil || t.Failed() {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d records, %d dropped, %d times one hole with exact counts", times, last, dropped, holes)
	if dropped == 0 || holes == 0 {
		t.Error("retention had nothing to do")
	}
}

// runRetainChild kills the child after that many lines and says what it had
// told until then.
func runRetainChild(t *testing.T, dir string, lines int, last, acked uint64) (uint64, uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), retainDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		var seq uint64
		if _, err := fmt.Sscanf(in.Text(), "acks %d", &seq); err == nil {
			acked = max(acked, seq)
		} else if _, err := fmt.Sscan(in.Text(), &seq); err == nil {
			last = max(last, seq)
		} else {
			t.Errorf("the child said %q", in.Text())
		}
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the child ended with %v before it was killed", err)
	}
	return last, acked
}

// checkRetained holds a whole replay, which has no gaps, against what each
// record must be, and gives the number of holes.
func checkRetained(t *testing.T, items []wire.Item, s Stats) (holes int) {
	t.Helper()
	if items[0].First != 1 || items[len(items)-1].Last != s.Last {
		t.Errorf("replayed are %d to %d, the last is %d", items[0].First, items[len(items)-1].Last, s.Last)
	}
	for _, it := range items {
		r, err := wire.Decode(it.Body)
		h := r.GetHole()
		if err != nil || h == nil {
			want, _, e := retained(it.First)
			if e != nil || string(want) != string(it.Body) || it.First < s.First {
				t.Errorf("record %d is %q, want %q, %v", it.First, it.Body, want, e)
			}
			continue
		}
		if it.Last >= s.First {
			t.Errorf("the hole %v holds records that are there, from %d on", h, s.First)
		}
		if h.GetReason() == wire.HoleGone && it.Last <= s.Acknowledged {
			continue // dropped after it was acknowledged
		}
		want := countRetained(it.First, it.Last)
		if got := [4]uint64{h.GetNone(), h.GetPass(), h.GetFail(), h.GetOther()}; h.GetReason() != wire.HoleRetention || got != want {
			t.Errorf("the hole %v counts %v, want %v", h, got, want)
		}
		holes++
	}
	return holes
}

// countRetained counts NONE, PASS, FAIL and what is no result.
func countRetained(first, last uint64) (n [4]uint64) {
	for seq := first; seq <= last; seq++ {
		switch {
		case seq%7 == 0, seq%11 == 0:
			n[3]++
		default:
			n[verdictOf(seq)]++
		}
	}
	return n
}
