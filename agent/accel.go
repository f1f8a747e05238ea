package agent

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/sync/wire/rest"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// enlist gives a station its places at the accelerator, and the governor its say.
func (a *Agent) enlist(s *Station) {
	var streams []*sched.Stream
	for _, v := range s.views {
		v.stream = a.sched.Join(sched.StreamConfig{Name: s.cfg.ID + "/" + v.camera.Name(), Class: s.cfg.Class, MinRate: s.cfg.MinRate, Width: s.width(v)})
		streams = append(streams, v.stream)
	}
	s.large = a.sched.Join(sched.StreamConfig{Name: s.cfg.ID + "/large", Class: behind(s.cfg.Class), Width: maxPending})
	s.strained = a.governor.Strained
	s.costs, s.history = a.sched.Model, a.historyOf(s.cfg.ID)
	s.member = a.governor.Join(sched.MemberConfig{Name: s.cfg.ID, Class: s.cfg.Class, Smaller: s.cfg.Small != nil, Fixed: s.triggered(), Streams: streams})
}

// behind is the class of a station's second looks. Those of a critical one leave room
// for what is critical, its own next part among it.
func behind(c sched.Class) sched.Class {
	if c == sched.Critical {
		return sched.Normal
	}
	return c
}

// historyOf gives the newest results of a station, newest first.
func (a *Agent) historyOf(station string) func(context.Context, int) ([]rest.Result, error) {
	return func(ctx context.Context, most int) ([]rest.Result, error) {
		all, _, err := a.Results(ctx, api.Query{Station: station, Limit: most})
		return all, err
	}
}

// width is how many frames of a view are on their way at once: two where every frame
// counts, so that one is filled in while the other runs; one where frames are
// dropped, so that the next is as fresh as can be.
func (s *Station) width(v *view) int {
	switch {
	case s.triggered():
		return maxPending
	case v.drops():
		return 1
	}
	return 2
}

// choose is the worker that looks now, with what its runs cost: at the degradation
// step Smaller the small one, where there is one.
func (s *Station) choose(l *lane) (*infer.Worker, *sched.Model) {
	small := s.small(l)
	return l.worker(small), s.costs(costName(l.about(small)))
}

func costName(m Model) string { return cmp.Or(m.Digest, m.Name) }

// small tells whether the small model looks now. While it can't, the other one does.
func (s *Station) small(l *lane) bool {
	return l.Small != nil && s.step() >= sched.Smaller && ready(l.Small) == nil
}

// shrinks tells whether what the station inspects with has a smaller model that isn't
// given up.
func (s *Station) shrinks() bool {
	w := s.loadout().Small
	if w == nil {
		return false
	}
	err := ready(w)
	return err == nil || errors.Is(err, context.Canceled)
}

// step is the station's degradation step.
func (s *Station) step() sched.Step {
	if s.member == nil {
		return sched.Full
	}
	return s.member.Step()
}

// Pressure is the one input by which heat or power make stations degrade: 0 is none,
// 1 is all there is. See sched.Governor.
func (a *Agent) Pressure(source string, level float64) { a.governor.Pressure(source, level) }

// govern lets the governor look at how things go. The watch loop calls it.
func (a *Agent) govern(now time.Time) {
	for _, s := range a.stations {
		s.member.Shrinks(s.shrinks())
	}
	a.governor.Tick(now)
}
