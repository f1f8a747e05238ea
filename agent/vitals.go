package agent

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Limits of what a loadout's figures keep.
const (
	keepSeqs   = 64   // numbers of the newest verdicts
	keepVitals = 4096 // newest frames
)

// Vitals are how a station does since the loadout that it has now decides.
type Vitals struct {
	Bundle               string        // SHA-256 of the signed bundle, hex; "" for what wasn't one
	Cut                  Cut           // since when it decides
	Verdicts, None, Late uint64        // told; of them NONE, and those not on disk by the deadline
	Restarts             uint64        // of the model's worker
	Seqs                 []uint64      // in the journal, of the newest verdicts that are on disk as they were told, at most 64, ascending
	ModelP50, ModelP99   time.Duration // the model alone, 0 before the first frame
	AgeP99               time.Duration // frame captured → its result, 0 before the first frame
	Period               time.Duration // between two pictures, of all its cameras; 0 unknown
	Deadline             time.Duration // decided → told, of the station
	Celsius              float64       // of the hottest place on the board, NaN where none is measured
	Failure              string        // why the station can't inspect, "" while it can
}

// tally counts what a loadout did. It is not safe for concurrent use.
type tally struct {
	cut                  Cut
	verdicts, none, late uint64
	restarts             uint64 // of the worker before the loadout decided
	seqs                 []uint64
	runs, ages           durations
}

func (t *tally) told(i *Inspection) {
	t.verdicts++
	if i.Told.Verdict == vision.None {
		t.none++
	}
	if i.Seq == 0 {
		t.late++
		return
	}
	t.seqs = append(t.seqs, i.Seq)
	t.seqs = slices.Delete(t.seqs, 0, max(0, len(t.seqs)-keepSeqs))
}

// Vitals are a station's figures since its present loadout decides. Frames that
// two loadouts saw during a switch are in no duration.
func (a *Agent) Vitals(station string) (Vitals, error) {
	s := a.find(station)
	if s == nil {
		return Vitals{}, fmt.Errorf("station %s: there is none of that name", station)
	}
	v := Vitals{Celsius: a.hottest(), Deadline: s.cfg.Deadline}
	rate := 0.0
	for _, w := range s.views {
		rate += w.camera.cfg.Source.Stats().Rate
	}
	if rate > 0 {
		v.Period = time.Duration(float64(time.Second) / rate)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.lane.tally
	v.Bundle, v.Cut = s.lane.About.Bundle, t.cut
	v.Verdicts, v.None, v.Late, v.Seqs = t.verdicts, t.none, t.late, slices.Clone(t.seqs)
	v.ModelP50, v.ModelP99 = t.runs.quantiles(keepVitals)
	_, v.AgeP99 = t.ages.quantiles(keepVitals)
	if s.lane.Model != nil {
		v.Restarts = s.lane.Model.Stats().Restarts - t.restarts
	}
	if s.failure != nil {
		v.Failure = s.failure.Error()
	}
	return v, nil
}

// hottest is the highest temperature that the board tells, NaN for none.
func (a *Agent) hottest() float64 {
	top := math.NaN()
	r := a.Reading()
	if r == nil {
		return top
	}
	for _, t := range r.Temperatures {
		top = maxOf(top, t.Celsius)
	}
	for _, g := range r.GPUs {
		if g.Celsius != nil {
			top = maxOf(top, *g.Celsius)
		}
	}
	return top
}

// maxOf passes over what is no number, which max doesn't.
func maxOf(a, b float64) float64 {
	if math.IsNaN(a) || b > a {
		return b
	}
	return a
}
