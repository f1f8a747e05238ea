package agent

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// TestSlowListenerKeepsNobodyFromTheirAnswer: who hears of a verdict, and makes its
// picture, may take long; the next trigger is answered by its deadline all the same,
// and a little before it where the disk is what it waits for.
func TestSlowListenerKeepsNobodyFromTheirAnswer(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: 10 * time.Second, Trigger: &TriggerConfig{}})
	hold := make(chan struct{})
	listen := b.tell
	b.recorder.tell = func(i *Inspection) { <-hold; listen(i) }
	var all []*inquiry
	for range 5 { // the disk takes nothing yet
		now := time.Now()
		q := &inquiry{station: b.station, arrived: now, by: now.Add(200 * time.Millisecond), cancel: func() {}, done: make(chan struct{})}
		b.station.conclude(q, b.station.lane, vision.Part{ID: "p"}, vision.Decision{Verdict: vision.Pass, Reason: "ok"}, nil)
		all = append(all, q)
	}
	for _, q := range all {
		select {
		case <-q.done:
		case <-time.After(5 * time.Second):
			t.Fatal("no answer while another is being told")
		}
		if q.answer.Reason != vision.ReasonNotRecorded || q.ahead() != tellAhead {
			t.Errorf("%+v", q.answer)
		}
	}
	close(hold)
	for range all {
		<-b.told
	}
	b.write(t)
}
