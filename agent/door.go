package agent

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/agent/plc"
)

// door is a station as the doors of package plc ask it.
type door struct {
	agent   *Agent
	station *Station
	beats   *atomic.Uint64 // of its own: another door's must not be taken for this one's
}

// Door gives a station to a door, nil if there is none of that name.
func (a *Agent) Door(station string) plc.Station {
	s := a.find(station)
	if s == nil {
		return nil
	}
	return door{a, s, new(atomic.Uint64)}
}

// Trigger implements plc.Station.
func (d door) Trigger(_ context.Context, t plc.Trigger) plc.Answer {
	q := Trigger{ID: t.ID, Part: t.Part, At: t.At, Taken: t.Taken}
	if err := q.Check(); err != nil { // the door bounds what it takes
		return plc.Answer{TriggerID: t.ID, PartID: t.Part, Attempt: 1, Reason: "bad_trigger"}
	}
	a := d.station.trigger(q)
	return plc.Answer{
		TriggerID: a.Trigger, PartID: a.Part, Attempt: a.Attempt, Recipe: a.Recipe, Verdict: a.Verdict, Reason: a.Reason, Repeated: a.Repeated,
	}
}

// Ready implements plc.Station.
func (d door) Ready() (bool, string) { return d.station.Ready() }

// Recipe implements plc.Station.
func (d door) Recipe() (string, []string) {
	e := d.station.echo()
	return e.Recipe, e.Recipes
}

// SetRecipe implements plc.Station.
func (d door) SetRecipe(ctx context.Context, name string) error {
	_, err := d.station.setRecipe(ctx, name)
	return err
}

// stuckLine is how long something may be overdue until the line's heartbeat stops.
const stuckLine = time.Second

// Progress implements plc.Station: it grows with each call that finds the scheduler,
// the recorder and the watch loop at work. Where one of them hangs, the call does, or
// the number stands still.
func (d door) Progress() uint64 {
	a, now := d.agent, time.Now()
	a.sched.Stats()
	if a.silent(now) || a.recorder.overdue(now) || d.station.ledger.overdue(now) {
		return d.beats.Load()
	}
	return d.beats.Add(1)
}

// silent tells whether the watch loop has hung.
func (a *Agent) silent(now time.Time) bool {
	a.alive.mu.Lock()
	defer a.alive.mu.Unlock()
	return now.Sub(a.alive.round) > 4*watchEvery+stuckLine
}

// overdue tells whether a verdict should have been told long ago.
func (r *recorder) overdue(now time.Time) bool {
	at := r.oldest.Load()
	return at != 0 && now.UnixNano()-at > int64(stuckLine)
}

// Entrance is a door that stands before a station.
type Entrance struct {
	Protocol, Station, Address string
	Stats                      func() plc.Stats
}

// AddDoor makes a door known, for who asks how it is doing. Call it before Run.
func (a *Agent) AddDoor(e Entrance) { a.doors = append(a.doors, e) }
