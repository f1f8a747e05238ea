package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/vision/sched"
)

// known is an error that api tells apart, with the text of ours.
type known struct {
	error
	as error
}

func (k known) Is(target error) bool { return target == k.as }

// asAPI gives an error as api has it.
func asAPI(err error) error {
	for mine, theirs := range map[error]error{ErrNoStation: api.ErrNoStation, ErrNoTrigger: api.ErrNoTrigger, ErrBadTrigger: api.ErrBadTrigger, ErrNoRecipe: api.ErrNoRecipe} {
		if errors.Is(err, mine) {
			return known{err, theirs}
		}
	}
	return err
}

// recipes is an echo as api has it.
func (e Echo) recipes() api.Recipes {
	return api.Recipes{Recipe: e.Recipe, Recipes: append([]string{}, e.Recipes...), After: e.Cut.After, TookMS: api.MS(e.Took)}
}

// source is the agent as api asks it: where both have a method of a name, this one's
// speaks api's types.
type source struct{ *Agent }

// Source is the agent as package api asks it.
func (a *Agent) Source() api.Source { return source{a} }

// Trigger implements api.Source.
func (s source) Trigger(station string, t api.Trigger) (api.Answer, error) {
	q := Trigger{ID: t.ID, Part: t.Part, Recipe: t.Recipe, Deadline: time.Duration(t.Deadline * float64(time.Millisecond))}
	if t.At != nil {
		q.At = *t.At
	}
	a, err := s.Agent.Trigger(station, q)
	if err != nil {
		return api.Answer{}, asAPI(err)
	}
	return api.Answer{
		Trigger: a.Trigger, Part: a.Part, Attempt: a.Attempt, Recipe: a.Recipe, Verdict: a.Verdict, Reason: a.Reason,
		Seq: a.Seq, LatencyMS: api.MS(a.Latency), Repeated: a.Repeated, FirstMS: api.MS(a.First),
	}, nil
}

// Recipe implements api.Source.
func (s source) Recipe(station string) (api.Recipes, error) {
	e, err := s.Agent.Recipe(station)
	return e.recipes(), asAPI(err)
}

// SetRecipe implements api.Source.
func (s source) SetRecipe(ctx context.Context, station, recipe string) (api.Recipes, error) {
	e, err := s.Agent.SetRecipe(ctx, station, recipe)
	return e.recipes(), asAPI(err)
}

// line fills in what api tells of a station's schedule.
func (s *Station) line(out *api.Station) {
	out.Mode, out.Ready = "continuous", true
	if s.triggered() {
		out.Mode = "trigger"
		out.Ready, out.NotReady = s.Ready()
	}
	e := s.echo()
	out.Recipe, out.Recipes, out.Apart = e.Recipe, e.Recipes, slices.Contains(s.cfg.Apart, e.Recipe)
	sum := sched.Stats{}
	for _, v := range s.views {
		st := v.stream.Stats()
		sum.Grants += st.Grants
		sum.InTime += st.InTime
		sum.Late += st.Late
		sum.RefusedLate += st.RefusedLate
		sum.RefusedStale += st.RefusedStale
		sum.Busy += st.Busy
		sum.BusyInTime += st.BusyInTime
	}
	out.Schedule = api.Schedule{
		Criticality: s.cfg.Class.String(), MaxAgeMS: api.MS(s.cfg.MaxAge), MinRate: s.cfg.MinRate,
		Turns: sum.Grants, InTime: sum.InTime, Late: sum.Late, RefusedLate: sum.RefusedLate, RefusedStale: sum.RefusedStale,
		BusyMS: api.MS(sum.Busy), InTimeMS: api.MS(sum.BusyInTime),
	}
	m := s.member.Stats()
	out.Degraded = api.Degradation{
		Step: m.Step.String(), Why: m.Why, Slower: m.Entered[sched.Slower], Smaller: m.Entered[sched.Smaller], None: m.Entered[sched.Nothing],
	}
	if !m.Since.IsZero() {
		out.Degraded.Since = &m.Since
	}
}

// entrances are the doors as api tells of them.
func (a *Agent) entrances() []api.Door {
	var all []api.Door
	for _, d := range a.doors {
		st := d.Stats()
		all = append(all, api.Door{
			Protocol: d.Protocol, Station: d.Station, Address: d.Address, Open: st.Open != "", Fault: st.Fault, Client: st.Client,
			Alive: st.Alive, HeartbeatMS: api.MS(st.Heartbeat), Triggers: st.Triggers, Missed: st.Missed, Overruns: st.Overruns,
			Refused: st.Refused + st.Busy, Malformed: st.Malformed,
		})
	}
	return all
}
