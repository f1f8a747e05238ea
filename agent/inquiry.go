package agent

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Trigger asks a station for one inspection.
type Trigger struct {
	ID       string        // idempotency key; "" lets the device count
	Part     string        // serial of the part; "" where nobody knows it
	Recipe   string        // that it is meant for; "" takes the active one
	At       time.Time     // when the part was in place; zero: now
	Deadline time.Duration // from its arrival to the answer; 0: the station's
	Taken    func()        // called once later triggers can't overtake this one any more; may be nil
}

// Answer is a trigger's verdict as the line is told it.
type Answer struct {
	Trigger   string // the trigger's ID, or the device's count
	Part      string // as it was given
	Attempt   int    // of the part, from 1
	Recipe    string // that judged it
	Verdict   vision.Verdict
	Reason    string
	Seq       uint64        // of its record; 0: it isn't on disk, or not yet
	Latency   time.Duration // trigger → answer
	Repeated  bool          // the trigger had been given before: this is that one's answer
	First     time.Duration // of one that was given before: its Latency then
	Inspected []vision.View // the frames that it rests on
}

// inquiry is one trigger on its way to its answer.
type inquiry struct {
	Trigger
	station *Station
	given   string // its ID as it was given, where that was another part's; else ""
	arrived time.Time
	by      time.Time // the answer is given at the latest
	attempt int
	ctx     context.Context // ends at the last moment for a decision
	cancel  context.CancelFunc
	done    chan struct{} // closed with the answer
	exposed atomic.Int32  // cameras that have given their picture
	places  []place       // by view, among the triggers of the cameras that it makes expose
	lane    *lane         // that inspects it; protected by Station.mu

	gaveBack bool // its place among those that are inspected; protected by Station.mu

	mu      sync.Mutex // protects all below
	stage   string     // the reason if the time were up now
	decided bool
	looks   []Look   // at its part, without the large model's
	instead *outcome // of a part in doubt: what is answered, even if the large model comes too late; nil: it isn't
	answer  Answer   // stands once done is closed
}

// enter notes what the inquiry waits for now, as the reason that it would give.
func (q *inquiry) enter(stage string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stage = stage
}

// claim is true for the one who decides.
func (q *inquiry) claim() (stage string, mine bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.decided {
		return "", false
	}
	q.decided = true
	q.cancel()
	return q.stage, true
}

// tellAhead is how long before its deadline an answer that the disk holds up is given:
// a timer that is set for the deadline itself always misses it.
const tellAhead = 2 * time.Millisecond

func (q *inquiry) ahead() time.Duration { return min(tellAhead, q.by.Sub(q.arrived)/20) }

// answered hears what the line is told. The recorder calls it once.
func (q *inquiry) answered(i *Inspection) {
	q.finish(Answer{
		Trigger: cmp.Or(q.given, q.ID), Part: q.Part, Attempt: q.attempt, Recipe: i.Recipe, Verdict: i.Told.Verdict, Reason: i.Told.Reason,
		Seq: i.Seq, Inspected: i.Part.Views,
	})
}

func (q *inquiry) finish(a Answer) {
	a.Latency = time.Since(q.arrived)
	q.mu.Lock()
	q.answer = a
	q.mu.Unlock()
	close(q.done)
	q.station.ledger.answered(q)
}

// latency is trigger → answer, once that has been given.
func (q *inquiry) latency() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.answer.Latency
}

// wait gives the answer, which comes by the deadline whatever happens.
func (q *inquiry) wait() Answer {
	<-q.done
	return q.answer
}

// again gives the answer to a trigger that is the same as this one, by its own deadline.
func (q *inquiry) again(same *inquiry) Answer {
	timer := time.NewTimer(time.Until(same.by))
	defer timer.Stop()
	a := Answer{Trigger: q.ID, Part: q.Part, Attempt: q.attempt, Reason: vision.ReasonLate}
	select {
	case <-q.done:
		a = q.answer
	case <-timer.C: // asked once more, it has the answer
	}
	a.Repeated, a.First, a.Latency = true, a.Latency, time.Since(same.arrived)
	return a
}
