package agent

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
)

// idle is an agent that doesn't run, with two stations in trigger mode.
func idle(t *testing.T) (a *Agent, one, two *Station) {
	t.Helper()
	j, opened, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	a = New(Config{Journal: j, Opened: opened, Log: quiet})
	cfg := func(id string) StationConfig {
		return StationConfig{ID: id, Cameras: []*Camera{drawnCamera(t, standing(t), CameraConfig{ID: id})}, Trigger: &TriggerConfig{}, Log: quiet}
	}
	return a, a.Add(cfg("one")), a.Add(cfg("two"))
}

// owes enters a trigger that should be answered by then.
func owes(s *Station, by time.Time) *inquiry {
	q := &inquiry{station: s, arrived: time.Now(), by: by, done: make(chan struct{})}
	s.ledger.open(q)
	return q
}

// TestHeartbeatOfAStuckStation: it stops, although the other station's goes on.
func TestHeartbeatOfAStuckStation(t *testing.T) {
	a, one, _ := idle(t)
	a.look(time.Now())
	first, second := a.Door("one"), a.Door("two")
	grows := func(what string, d interface{ Progress() uint64 }, want bool) {
		t.Helper()
		before := d.Progress()
		second.Progress()
		if got := d.Progress() > before; got != want {
			t.Errorf("%s: the heartbeat goes on: %v, want %v", what, got, want)
		}
	}
	grows("at rest", first, true)
	q := owes(one, time.Now().Add(-2*stuckLine))
	for range 20 { // newer ones don't hide it
		owes(one, time.Now().Add(time.Minute))
	}
	grows("a trigger that should have been answered", first, false)
	grows("another station", second, true)
	q.finish(Answer{})
	grows("once it is answered", first, true)
	a.alive.round = time.Now().Add(-time.Minute)
	grows("the watch loop has hung", first, false)
}

// TestWaitingTriggersAreAlive: one that may wait for long is no reason for a new start;
// one that should have been answered long ago is.
func TestWaitingTriggersAreAlive(t *testing.T) {
	_, one, _ := idle(t)
	now := time.Now()
	owes(one, now.Add(MaxDeadline))
	if one.ledger.overdue(now.Add(MaxDeadline + stuckLine/2)) {
		t.Error("it is overdue too soon")
	}
	if !one.ledger.overdue(now.Add(MaxDeadline + 2*stuckLine)) {
		t.Error("it is never overdue")
	}
}
