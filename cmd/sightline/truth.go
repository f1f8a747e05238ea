package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// demoSummary compares the agent's verdicts with the truth, over the parts
// that entered the picture after the first inspected frame and left it before
// the end.
type demoSummary struct {
	PartsTrue  int `json:"parts_true"`  // that entered and left
	Parts      int `json:"parts"`       // of them, those that the agent gave a verdict
	Bad        int `json:"bad"`         // truly bad, with a defect over the floor
	Good       int `json:"good"`        // truly good
	Escapes    int `json:"escapes"`     // bad passed
	Overkill   int `json:"overkill"`    // good rejected, FAIL or NONE
	Missed     int `json:"missed"`      // without a verdict
	Double     int `json:"double"`      // with more than one
	Phantoms   int `json:"phantoms"`    // verdicts on no part
	BelowFloor int `json:"below_floor"` // whose only defects are too faint to be counted on
	Rejected   int `json:"below_floor_rejected"`
	None       int `json:"none"` // verdicts NONE among Parts

	Devices       int     `json:"devices"`
	ResultsDevice int     `json:"results_device"`  // on the devices' disks
	ResultsFleet  int     `json:"results_fleet"`   // at the fleet
	Lost          int     `json:"lost"`            // on a device and not at the fleet
	Twice         int     `json:"twice"`           // at the fleet more than once
	Strange       int     `json:"strange"`         // at the fleet and on no device
	Outage        float64 `json:"outage_seconds"`  // how long the network was cut
	Stale         int     `json:"stale_in_outage"` // devices that the fleet showed as stale meanwhile
	Drain         float64 `json:"drain_seconds"`   // after the outage, until the fleet had all

	EscapesBound  float64 `json:"escapes_bound"`  // upper 95 % bound of the share
	OverkillBound float64 `json:"overkill_bound"` // the same
	Pictures      string  `json:"pictures"`       // what the figures speak of

	Wrong []string `json:"wrong,omitempty"` // the mistakes one by one, the first 20

	Rollouts []rolloutSummary `json:"rollouts,omitempty"` // in their order
}

// result is a verdict as the journal has it.
type result struct {
	seq         uint64
	bundle      string // digest of the signed bundle that told it, hex; empty without
	verdict     vision.Verdict
	reason      string
	box         vision.Box
	best        time.Time
	frames      int
	first, last uint64
	trigger     string // that asked for it; empty where parts are followed
	part        string
}

// readResults reads every verdict that the agent told.
func readResults(data string) ([]result, error) {
	j, opened, err := journal.Open(data)
	if err != nil {
		return nil, fmt.Errorf("read the agent's verdicts: %w", err)
	}
	defer j.Close()
	if opened.Quarantined != "" {
		return nil, fmt.Errorf("read the agent's verdicts: %s", opened.Reason)
	}
	rows, _, err := j.Query(0, math.MaxInt32, func(uint64, []byte) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("read the agent's verdicts: %w", err)
	}
	var out []result
	for _, row := range rows {
		rec, err := wire.Decode(row.Body)
		if err != nil {
			return nil, err
		}
		r := rec.GetResult()
		if r == nil {
			continue
		}
		var late *wire.Told
		if row.Amend != nil {
			amend, err := wire.Decode(row.Amend)
			if err != nil {
				return nil, err
			}
			late = amend.GetTold()
		}
		verdict, reason := r.Answered(late)
		out = append(out, result{
			seq: row.Seq, bundle: r.GetBundleDigest(),
			verdict: verdict, reason: reason, box: r.GetBox().Vision(), best: wire.Time(r.GetBestCaptured()),
			frames: int(r.GetFrames()), first: r.GetFirstSeq(), last: r.GetLastSeq(),
			trigger: r.GetTriggerId(), part: r.GetPartId(),
		})
	}
	return out, nil
}

// add counts one device's verdicts: it finds the part that each is about, the
// one whose place in the frame that was drawn when the verdict's best view was
// taken is nearest.
func (s *demoSummary) add(p *played, results []result) {
	if len(p.drawn) == 0 {
		return
	}
	about := map[int][]result{}
	for _, r := range results {
		if i, ok := p.partAt(r); ok {
			about[i] = append(about[i], r)
		} else {
			s.Phantoms++
		}
	}
	from, to := p.scene.Time(p.drawn[0].n), p.scene.Time(p.ended)
	for _, part := range p.scene.LeftBy(to) {
		if part.Entered < from {
			continue
		}
		s.PartsTrue++
		told := about[part.Index]
		before := s.mistakes()
		switch {
		case part.Bad():
			s.Bad++
		case part.BelowFloor():
			s.BelowFloor++
		default:
			s.Good++
		}
		s.judge(part.Bad(), part.BelowFloor(), told)
		if s.mistakes() > before && len(s.Wrong) < maxWrong {
			s.Wrong = append(s.Wrong, describe(part, told))
		}
	}
}

// hold compares one device's results with what the fleet has of it.
func (s *demoSummary) hold(device string, results []result, fleet []fleetResult) {
	s.ResultsDevice += len(results)
	times := map[uint64]int{}
	for _, r := range fleet {
		if r.Device == device {
			times[r.Seq]++
			s.ResultsFleet++
		}
	}
	for _, r := range results {
		switch n := times[r.seq]; {
		case n == 0:
			s.Lost++
		case n > 1:
			s.Twice += n - 1
		}
		delete(times, r.seq)
	}
	for _, n := range times {
		s.Strange += n
	}
}

// credit counts one device's verdicts for the bundles that told them.
func (s *demoSummary) credit(results []result) {
	for _, r := range results {
		for i := range s.Rollouts {
			if s.Rollouts[i].digest != r.bundle {
				continue
			}
			s.Rollouts[i].Verdicts++
			if r.verdict == vision.None {
				s.Rollouts[i].None++
			}
		}
	}
}

// finish adds the bounds, once all devices are counted.
func (s *demoSummary) finish() {
	s.EscapesBound, s.OverkillBound = upperBound(s.Escapes, s.Bad), upperBound(s.Overkill, s.Good)
}

// maxWrong is how many mistakes are told one by one.
const maxWrong = 20

// mistakes is how many there are so far, of any kind.
func (s *demoSummary) mistakes() int { return s.Escapes + s.Overkill + s.Missed + s.Double }

// describe tells what a part was and what the agent said of it.
func describe(p scene.Part, told []result) string {
	var kinds []string
	for _, d := range p.Defects {
		kinds = append(kinds, string(d.Kind))
	}
	text := fmt.Sprintf("%s (%s, in view %.1f–%.1f s):", p.ID, cmp.Or(strings.Join(kinds, " and "), "good"), p.Entered.Seconds(), p.Left.Seconds())
	for _, r := range told {
		text += fmt.Sprintf(" %v %q, frames %d–%d, %d of them;", r.verdict, r.reason, r.first, r.last, r.frames)
	}
	if len(told) == 0 {
		text += " no verdict;"
	}
	return strings.TrimSuffix(text, ";")
}

// judge counts one part's verdicts: a bad part escapes if any of them passes
// it, a good one is overkill if any rejects it.
func (s *demoSummary) judge(bad, below bool, results []result) {
	if len(results) == 0 {
		s.Missed++
		return
	}
	s.Parts++
	if len(results) > 1 {
		s.Double++
	}
	var told []vision.Verdict
	for _, r := range results {
		told = append(told, r.verdict)
	}
	passed := slices.Contains(told, vision.Pass)
	rejected := slices.ContainsFunc(told, func(v vision.Verdict) bool { return v != vision.Pass })
	if slices.Contains(told, vision.None) {
		s.None++
	}
	switch {
	case below && rejected:
		s.Rejected++
	case bad && passed:
		s.Escapes++
	case !bad && !below && rejected:
		s.Overkill++
	}
}

// partAt is the index of the part that a verdict is about.
func (p *played) partAt(r result) (int, bool) {
	at, _ := slices.BinarySearchFunc(p.drawn, r.best, func(d drawnAt, t time.Time) int { return d.at.Compare(t) })
	frame := p.drawn[max(at-1, 0)] // the last one drawn before the view was taken
	x, y := r.box.Center()
	best, index := math.Inf(1), -1
	for _, t := range p.scene.Truth(frame.n) {
		cx, cy := t.Clipped.Center()
		if d := math.Hypot(float64(cx-x), float64(cy-y)) / float64(t.Box.W); d < best {
			best, index = d, t.Part.Index
		}
	}
	return index, best < 0.5
}

// upperBound is the upper end of the one-sided 95 % interval of a share
// (Clopper and Pearson 1934, found by bisection), 1 for no trials.
func upperBound(k, n int) float64 {
	if n == 0 || k >= n {
		return 1
	}
	low, high := float64(k)/float64(n), 1.0
	for range 60 {
		mid := (low + high) / 2
		if atMost(k, n, mid) > 0.05 {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// atMost is the probability of at most k of n at the share p.
func atMost(k, n int, p float64) float64 {
	sum, term := 0.0, float64(n)*math.Log1p(-p)
	for i := 0; i <= k; i++ {
		sum += math.Exp(term)
		term += math.Log(float64(n-i)) - math.Log(float64(i+1)) + math.Log(p) - math.Log1p(-p)
	}
	return sum
}

func (s *demoSummary) print(w io.Writer) error {
	var errs []error
	line := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		errs = append(errs, err)
	}
	of := func(k, n int) string {
		return fmt.Sprintf("%d of %d, ≤ %.1f %% at 95 %%", k, n, 100*upperBound(k, n))
	}
	line("\n%d drawn parts entered and left the picture, %d got a verdict (%d NONE)", s.PartsTrue, s.Parts, s.None)
	line("  escapes (bad passed)     %s", of(s.Escapes, s.Bad))
	line("  overkill (good rejected) %s", of(s.Overkill, s.Good))
	line("  missed                   %s", of(s.Missed, s.PartsTrue))
	line("  double                   %s", of(s.Double, s.PartsTrue))
	line("  verdicts on no part      %d", s.Phantoms)
	line("  under the floor          %d, %d of them rejected: too faint to be counted on", s.BelowFloor, s.Rejected)
	for _, w := range s.Wrong {
		line("  wrong: %s", w)
	}
	line("%d results on %d devices, %d at the fleet", s.ResultsDevice, s.Devices, s.ResultsFleet)
	line("  lost                     %s", of(s.Lost, s.ResultsDevice))
	line("  twice                    %s", of(s.Twice, s.ResultsDevice))
	if s.Strange > 0 {
		line("  from nowhere             %d", s.Strange)
	}
	if s.Outage > 0 {
		line("  the network was cut for %.0f s, when the fleet showed %d of %d devices as stale; it had all %.1f s after", s.Outage, s.Stale, s.Devices, s.Drain)
	}
	for _, r := range s.Rollouts {
		line("  rollout of %-21s %-11s %-11s proved by %d devices, gave %d verdicts (%d NONE)", r.Bundle, strings.ReplaceAll(r.State, "_", " "), r.Reason, r.Running, r.Verdicts, r.None)
	}
	line("These are drawn pictures: the figures say that the machinery works, not how well it sees your parts.")
	return errors.Join(errs...)
}
