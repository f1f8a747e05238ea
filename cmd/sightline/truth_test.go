package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// film is a scene that was drawn for a minute at its own rate, from frame
// first on.
func film(t *testing.T, first int) *played {
	t.Helper()
	s, err := scene.New(scene.Config{Seed: 5, DefectRate: 0.6})
	if err != nil {
		t.Fatal(err)
	}
	p := &played{scene: s}
	began := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for n := first; n <= 1500; n++ {
		p.drawn = append(p.drawn, drawnAt{began.Add(s.Time(n)), n})
	}
	p.ended = 1500
	return p
}

// verdictOn is a verdict that was told of a part, from its view in frame n.
func verdictOn(p *played, part scene.PartTruth, n int, v vision.Verdict) result {
	i := slices.IndexFunc(p.drawn, func(d drawnAt) bool { return d.n == n })
	return result{
		verdict: v, reason: "why", box: part.Box, best: p.drawn[i].at.Add(3 * time.Millisecond),
		frames: 9, first: 1, last: 10,
	}
}

// rightResults are what a faultless agent tells of every part that it saw
// whole, by the part's index.
func rightResults(p *played) map[int]result {
	out := map[int]result{}
	for _, d := range p.drawn {
		for _, t := range p.scene.Truth(d.n) {
			if _, have := out[t.Part.Index]; have || t.Visible < 1 {
				continue
			}
			v := vision.Pass
			if t.Part.Bad() {
				v = vision.Fail
			}
			out[t.Part.Index] = verdictOn(p, t, d.n, v)
		}
	}
	return out
}

// kinds finds one part of each kind among those that count.
func kinds(t *testing.T, p *played) (good, bad, faint int) {
	t.Helper()
	good, bad, faint = -1, -1, -1
	for _, part := range p.scene.LeftBy(p.scene.Time(p.ended)) {
		switch {
		case part.Entered < p.scene.Time(p.drawn[0].n):
		case part.Bad():
			bad = part.Index
		case part.BelowFloor():
			faint = part.Index
		default:
			good = part.Index
		}
	}
	if good < 0 || bad < 0 || faint < 0 {
		t.Fatalf("the scene shows no part of each kind: %d, %d, %d", good, bad, faint)
	}
	return good, bad, faint
}

func TestCompare(t *testing.T) {
	p := film(t, 0)
	good, bad, faint := kinds(t, p)
	right := compare(p, slices.Collect(values(rightResults(p))))
	if right.PartsTrue < 30 || right.Parts != right.PartsTrue || right.Bad+right.Good+right.BelowFloor != right.Parts {
		t.Fatalf("of a faultless agent: %+v", right)
	}
	if right.Escapes+right.Overkill+right.Missed+right.Double+right.Phantoms+right.None+right.Rejected != 0 {
		t.Fatalf("a faultless agent is blamed: %+v", right)
	}
	told := func(index int, v vision.Verdict) func(map[int]result) {
		return func(m map[int]result) { r := m[index]; r.verdict = v; m[index] = r }
	}
	again := func(index int, v vision.Verdict) func(map[int]result) {
		return func(m map[int]result) { r := m[index]; r.verdict = v; m[-1-index] = r }
	}
	for name, c := range map[string]struct {
		change func(map[int]result)
		want   func(*demoSummary)
	}{
		"escape":                 {told(bad, vision.Pass), func(s *demoSummary) { s.Escapes = 1 }},
		"bad without decision":   {told(bad, vision.None), func(s *demoSummary) { s.None = 1 }},
		"overkill":               {told(good, vision.Fail), func(s *demoSummary) { s.Overkill = 1 }},
		"overkill by NONE":       {told(good, vision.None), func(s *demoSummary) { s.Overkill, s.None = 1, 1 }},
		"under the floor, found": {told(faint, vision.Fail), func(s *demoSummary) { s.Rejected = 1 }},
		"missed":                 {func(m map[int]result) { delete(m, good) }, func(s *demoSummary) { s.Missed = 1; s.Parts-- }},
		"double":                 {again(good, vision.Pass), func(s *demoSummary) { s.Double = 1 }},
		"double that passes":     {again(bad, vision.Pass), func(s *demoSummary) { s.Double, s.Escapes = 1, 1 }},
		"double that rejects":    {again(good, vision.Fail), func(s *demoSummary) { s.Double, s.Overkill = 1, 1 }},
		"phantom": {func(m map[int]result) {
			r := m[good]
			r.box = vision.Box{X: 5, Y: -500, W: 20, H: 20}
			m[-1] = r
		}, func(s *demoSummary) { s.Phantoms = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			results := rightResults(p)
			c.change(results)
			want := right
			c.want(&want)
			got := compare(p, slices.Collect(values(results)))
			apart := cmpopts.IgnoreFields(demoSummary{}, "EscapesBound", "OverkillBound", "Wrong")
			if diff := cmp.Diff(want, got, apart); diff != "" {
				t.Error(diff)
			}
			if told := want.mistakes() > 0; told != (len(got.Wrong) == 1) {
				t.Errorf("the mistakes one by one: %q", got.Wrong)
			}
		})
	}
}

func values(m map[int]result) func(func(result) bool) {
	return func(yield func(result) bool) {
		for _, r := range m {
			if !yield(r) {
				return
			}
		}
	}
}

// Parts that were in view when the agent came, or still are at the end, don't
// count, whatever was told of them.
func TestCompareCountsWholeVisitsOnly(t *testing.T) {
	p := film(t, 500)
	p.ended = 1000
	from, to := p.scene.Time(500), p.scene.Time(1000)
	want := 0
	for _, part := range p.scene.LeftBy(to) {
		if part.Entered >= from {
			want++
		}
	}
	got := compare(p, slices.Collect(values(rightResults(p))))
	if got.PartsTrue != want || got.Parts != want || got.Missed != 0 || want == 0 {
		t.Errorf("%+v: want %d parts, none missed", got, want)
	}
}

// Each mistake names the part, what it was, and what was said of it.
func TestWrongInWords(t *testing.T) {
	p := film(t, 0)
	_, bad, _ := kinds(t, p)
	results := rightResults(p)
	r := results[bad]
	r.verdict = vision.Pass
	results[bad] = r
	part := p.scene.Part(bad)
	got := compare(p, slices.Collect(values(results))).Wrong
	if len(got) != 1 {
		t.Fatalf("%q", got)
	}
	for _, want := range []string{part.ID, string(part.Defects[0].Kind), `PASS "why", frames 1–10, 9 of them`} {
		if !strings.Contains(got[0], want) {
			t.Errorf("no %q in %q", want, got[0])
		}
	}
	got = compare(p, nil).Wrong
	if len(got) != maxWrong || !strings.HasSuffix(got[0], "no verdict") {
		t.Errorf("%d mistakes told, the first %q", len(got), got[0])
	}
}

func TestCompareWithoutResults(t *testing.T) {
	p := film(t, 0)
	got := compare(p, nil)
	if got.PartsTrue == 0 || got.Missed != got.PartsTrue || got.Parts != 0 || got.Escapes != 0 {
		t.Errorf("nobody told anything: %+v", got)
	}
	s, err := scene.New(scene.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := demoSummary{Pictures: "drawn", EscapesBound: 1, OverkillBound: 1}
	if diff := cmp.Diff(want, compare(&played{scene: s}, nil)); diff != "" {
		t.Errorf("nothing was drawn: %s", diff)
	}
}

// One-sided 95 % limits of Clopper and Pearson as tables of them have it; for
// no event the limit is 1 - 0.05^(1/n).
func TestUpperBound(t *testing.T) {
	for _, c := range []struct {
		k, n int
		want float64
	}{
		{0, 412, 0.00724}, {0, 10, 0.2589}, {1, 10, 0.3942}, {2, 10, 0.5069}, {5, 10, 0.7776}, {0, 1, 0.95},
		{0, 100000, 0.00003}, {10, 10, 1}, {0, 0, 1}, {3, 2, 1},
	} {
		if got := upperBound(c.k, c.n); !(math.Abs(got-c.want) < 5e-5) {
			t.Errorf("%d of %d: at most %.5f, want %.5f", c.k, c.n, got, c.want)
		}
	}
}

func TestSummaryInWords(t *testing.T) {
	s := demoSummary{PartsTrue: 460, Parts: 460, Bad: 48, Good: 412, BelowFloor: 3, Rejected: 1}
	var out bytes.Buffer
	if err := s.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"460 drawn parts", "0 of 412, ≤ 0.7 %", "0 of 48, ≤ 6.1 %", "3, 1 of them rejected", "drawn pictures"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// What counts is what the line was told, not what the rule said.
func TestReadResultsTakesWhatWasTold(t *testing.T) {
	dir := t.TempDir()
	seen := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	part := vision.Part{ID: "a-1", Label: "part", Box: vision.Box{X: 1, Y: 2, W: 3, H: 4}, BestSeen: seen, Frames: 7, First: 3, Last: 9}
	passed := &vision.Decision{Verdict: vision.Pass, Reason: "ok"}
	fill(t, dir, func(j *journal.Journal) {
		body, err := wire.EncodeResult(wire.NewResult(&part, passed, seen))
		if err != nil {
			t.Fatal(err)
		}
		seq := onDisk(t, j.Append(body))
		onDisk(t, j.Append(slices.Clone(body)))
		late, err := wire.EncodeTold(&wire.Told{Seq: seq, Answer: &wire.Answer{Verdict: wire.NewVerdict(vision.None), Reason: vision.ReasonNotRecorded}})
		if err != nil {
			t.Fatal(err)
		}
		onDisk(t, j.Amend(seq, late))
	})
	got, err := readResults(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	passes := result{part: "a-1", verdict: vision.Pass, reason: "ok", box: part.Box, best: seen, frames: 7, first: 3, last: 9}
	want := []result{passes, passes}
	want[0].seq, want[1].seq = 2, 1
	want[1].verdict, want[1].reason = vision.None, vision.ReasonNotRecorded
	exported := cmp.Exporter(func(t reflect.Type) bool { return t == reflect.TypeFor[result]() })
	if diff := cmp.Diff(want, got, exported, cmpopts.EquateApproxTime(0)); diff != "" {
		t.Error(diff)
	}
}

func TestReadResultsOfADamagedJournal(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "journal.db"), bytes.Repeat([]byte("x"), 20000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readResults(filepath.Join(dir, "data")); err == nil || !strings.Contains(err.Error(), "read the agent's verdicts") {
		t.Errorf("error %v", err)
	}
}

// fill opens the demo's journal as the agent does.
func fill(t *testing.T, dir string, write func(*journal.Journal)) {
	t.Helper()
	j, _, err := journal.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	write(j)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func onDisk(t *testing.T, p *journal.Pending) uint64 {
	t.Helper()
	<-p.Done()
	seq, err := p.Result()
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// compare is the summary of one device.
func compare(p *played, results []result) demoSummary {
	sum := demoSummary{Pictures: "drawn"}
	sum.add(p, results)
	sum.finish()
	return sum
}

// TestHold: each way in which the fleet's results can differ from a device's
// is counted as what it is.
func TestHold(t *testing.T) {
	fleet := []fleetResult{{"a", 1}, {"a", 3}, {"a", 3}, {"a", 9}, {"b", 1}, {"c", 7}}
	var sum demoSummary
	sum.hold("a", []result{{seq: 1}, {seq: 2}, {seq: 3}}, fleet)
	sum.hold("b", []result{{seq: 1}}, fleet)
	if sum.ResultsFleet != 5 || sum.Lost != 1 || sum.Twice != 1 || sum.Strange != 1 {
		t.Errorf("%+v", sum)
	}
}
