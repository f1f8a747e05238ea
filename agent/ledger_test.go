package agent

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

func ask(l *ledger, id, part string) (q *inquiry, known bool) {
	q = &inquiry{Trigger: Trigger{ID: id, Part: part}, arrived: time.Now(), done: make(chan struct{})}
	if same, _ := l.open(q); same != nil {
		return same, true
	}
	return q, false
}

// TestLedger: an ID is one inspection within the window and a new one after it; a
// part's inspections are counted.
func TestLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(10 * time.Minute)
		first, known := ask(l, "a", "p")
		if known || first.attempt != 1 {
			t.Fatal(first, known)
		}
		time.Sleep(10 * time.Minute)
		if again, known := ask(l, "a", ""); !known || again != first {
			t.Error("the ID came again within the window")
		}
		if q, known := ask(l, "a", "other"); known || q.ID == "a" || q.given != "a" {
			t.Errorf("the ID came again for another part, and goes on as %q", q.ID)
		}
		time.Sleep(time.Second)
		if q, known := ask(l, "a", "p"); known || q.attempt != 2 {
			t.Errorf("after the window: attempt %d, known %v", q.attempt, known)
		}
		x, _ := ask(l, "", "p")
		y, _ := ask(l, "", "")
		if x.ID == y.ID || x.ID == "" || x.attempt != 3 || y.attempt != 1 {
			t.Errorf("counted by the device: %q attempt %d, %q attempt %d", x.ID, x.attempt, y.ID, y.attempt)
		}
	})
}

// TestLedgerIsBounded: a flood of triggers and serials takes no more memory than told.
func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(time.Hour)
	for n := range keepTriggers + 500 {
		ask(l, fmt.Sprint("t", n), fmt.Sprint("p", n))
	}
	if len(l.known) > keepTriggers+1 || len(l.parts) > keepParts || len(l.serials) > keepParts {
		t.Errorf("%d triggers, %d parts", len(l.known), len(l.parts))
	}
}

// TestRecall: what was answered before a new start is known again, but never by a
// clock that can't be right: an old PASS must not stand for a new part.
func TestRecall(t *testing.T) {
	l := newLedger(10 * time.Minute)
	now, a := time.Now(), Answer{Trigger: "a", Part: "p", Attempt: 4, Verdict: vision.Pass}
	l.recall(nil, now, []past{{a, time.Minute}})
	for _, ago := range []time.Duration{-time.Second, 11 * time.Minute} { // of the future, as after a reset to 1970; of long ago
		b := a
		b.Trigger = fmt.Sprint("b", ago)
		l.recall(nil, now, []past{{b, ago}})
		if q, known := ask(l, b.Trigger, ""); known {
			t.Errorf("%v ago: it is known again, as %v", ago, q.answer.Verdict)
		}
	}
	if q, known := ask(l, "a", ""); !known || q.wait().Verdict != vision.Pass {
		t.Error("it was answered a minute ago")
	}
	if q, _ := ask(l, "c", "p"); q.attempt != 7 {
		t.Errorf("attempt %d: the part was inspected four times, and thrice more", q.attempt)
	}
}
