package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// The good part that the tests' belt stands at has a crack, for a model that believes
// scores from 0.1 on: 0.243, 0.975 for the part itself. One that believes them from
// trusting on sees the part alone.
const (
	doubting = 0.1
	trusting = 0.5
	crack    = "threshold:defect>0.2" // which rejects what the doubting model sees
)

// cascade is a loadout with a large model.
func cascade(t testing.TB, small, large float32, rule string, c Cascade) Loadout {
	t.Helper()
	l, big := shipped(t, "first", small), shipped(t, "large", large)
	l.Rule = ruleOf(t, rule)
	c.Large, c.About = big.Model, big.About
	c.About.Digest = "digest of large"
	l.Cascade = &c
	return l
}

// doubtful runs a station with triggers over the loadout, and waits until its large
// model has been measured.
func doubtful(t testing.TB, l Loadout, prepare func(*StationConfig)) (*running, *Station) {
	t.Helper()
	cfg := triggered(t, l)
	cfg.Cascade = l.Cascade
	if prepare != nil {
		prepare(&cfg)
	}
	r := plant(t, []*infer.Worker{l.Model, l.Cascade.Large}, cfg)
	s := r.ready()
	r.eventually("a large model that is measured", func() bool { return s.costs(costName(l.Cascade.About)).Runs() >= practiceRuns })
	return r, s
}

// seen triggers until the first model has looked: a busy machine may lose the picture, be
// late with it, or too slow for the rule or the disk.
func (r *running) seen() (a Answer, i *Inspection) {
	r.t.Helper()
	r.eventually("a part that is looked at", func() bool {
		a = r.trigger(Trigger{})
		i = r.result(a)
		return len(i.Looks) > 0 && a.Reason != vision.ReasonRuleFailed && a.Reason != vision.ReasonNotRecorded
	})
	return a, i
}

// pidOf is the process of the loadout's model.
func pidOf(t testing.TB, name string) int {
	t.Helper()
	for _, pid := range offspring() {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)) // it may have ended
		if strings.Contains(string(env)+"\x00", modelName+"="+name+"\x00") {
			return pid
		}
	}
	t.Fatalf("no process runs model %s", name)
	return 0
}

// looks are the models that looked at an inspection, in words.
func looks(i *Inspection) string {
	var all []string
	for _, l := range i.Looks {
		one := l.Model.Name + " " + l.Why
		if l.Missed != "" {
			one += " missed " + l.Missed
		} else {
			one += fmt.Sprintf(" %.2f", *l.Score)
		}
		all = append(all, one)
	}
	return strings.Join(all, ", ")
}

// asking is a rule that asks for the large model where anything was seen, and passes
// where nothing was.
func asking(t testing.TB) string {
	t.Helper()
	const doubt, pass = "\x01\x00\x00\x00\x05\x00doubt", "\x01\x00\x01\x00\x02\x00ok"
	section := func(id byte, body string) string { return string(id) + string(rune(len(body))) + body }
	code := func(body string) string { body = "\x00" + body + "\x0b"; return string(rune(len(body))) + body }
	module := "\x00asm\x01\x00\x00\x00" +
		section(1, "\x02\x60\x01\x7f\x01\x7f\x60\x00\x01\x7e") + // types: (i32) -> i32, () -> i64
		section(3, "\x02\x00\x01") +
		section(5, "\x01\x00\x01") +
		section(7, "\x03\x06memory\x02\x00\x05alloc\x00\x00\x04rule\x00\x01") +
		section(10, "\x02"+code("\x41\x80\x08")+ // 1024
			// the pieces of evidence, by the u16 at 1026: if any the answer at 16, else that at 32
			code("\x41\x80\x08\x2f\x01\x02\x04\x7e\x42\x8b\x80\x80\x80\x80\x02\x05\x42\x88\x80\x80\x80\x80\x04\x0b")) +
		section(11, "\x02\x00\x41\x10\x0b"+string(rune(len(doubt)))+doubt+"\x00\x41\x20\x0b"+string(rune(len(pass)))+pass)
	file := filepath.Join(t.TempDir(), "asks.wasm")
	if err := os.WriteFile(file, []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDoubt: what is in doubt by its score, by its pictures or by the rule is looked at
// by the large model, whose evidence decides.
func TestDoubt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		small, large float32
		rule         string
		set          Cascade
		want         vision.Verdict
		reason       string
		looks        string
	}{
		"a defect that isn't one":  {doubting, trusting, crack, Cascade{Band: &Band{0.2, 0.3}}, vision.Pass, "ok", "first part 0.24, large band 0.00"},
		"a defect that was missed": {trusting, doubting, crack, Cascade{Band: &Band{0, 0.1}}, vision.Fail, "crack 0.243 > 0.2", "first part 0.00, large band 0.24"},
		"outside of the band":      {doubting, trusting, crack, Cascade{Band: &Band{0.3, 0.9}}, vision.Fail, "crack 0.243 > 0.2", "first part 0.24"},
		"above the band":           {doubting, trusting, crack, Cascade{Band: &Band{0, 0.2}}, vision.Fail, "crack 0.243 > 0.2", "first part 0.24"},
		"no kind of doubt":         {doubting, trusting, crack, Cascade{}, vision.Fail, "crack 0.243 > 0.2", "first part 0.24"},
		"the crop":                 {doubting, doubting, crack, Cascade{Band: &Band{0.2, 0.3}, Crop: true}, vision.None, "doubt", "first part 0.24, large band missed no_part"},
		"the rule asks":            {doubting, trusting, "asking", Cascade{Small: true}, vision.Pass, "ok", "first part 0.24, large rule 0.00"},
		"the rule asks in vain":    {doubting, doubting, "asking", Cascade{}, vision.None, "doubt", "first part 0.24, large rule 0.24"},
		"the rule asks for nobody": {trusting, trusting, "asking", Cascade{}, vision.Pass, "ok", "first part 0.00"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.rule == "asking" {
				c.rule = asking(t)
			}
			r, s := doubtful(t, cascade(t, c.small, c.large, c.rule, c.set), nil)
			a, i := r.seen()
			if a.Verdict != c.want || a.Reason != c.reason || looks(i) != c.looks {
				t.Errorf("%v %q, looked: %s", a.Verdict, a.Reason, looks(i))
			}
			model := i.Looks[len(i.Looks)-1]
			if want := model.Model.Name; model.Missed == "" && i.Model.Name != want {
				t.Errorf("its evidence is %s's", i.Model.Name)
			}
			if model.Missed == "" && model.Took <= 0 {
				t.Errorf("it took %v", model.Took)
			}
			st := s.budget.stats()
			if n := st.Looks["band"] + st.Looks["rule"]; st.Parts == 0 || (n > 0) != (len(i.Looks) == 2 && model.Missed == "") || n > 0 && st.Cost <= 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestDisagreement: pictures of a part, or its cameras, that would be decided
// differently are doubt.
func TestDisagreement(t *testing.T) {
	rule := ruleOf(t, "threshold:defect>0.5")
	c := &Cascade{Disagreement: true}
	seen := func(score, peak float32) vision.Part {
		return vision.Part{Defects: []vision.Evidence{{Label: "crack", Score: score, Peak: peak}}}
	}
	views := func(scores ...float32) vision.Part {
		p := vision.Part{}
		for n, score := range scores {
			p.Views = append(p.Views, vision.View{Camera: fmt.Sprint("cam", n), Width: 8, Height: 8})
			p.Defects = append(p.Defects, vision.Evidence{Label: "crack", Score: score, Peak: score, View: n})
		}
		return p
	}
	for _, c2 := range []struct {
		part vision.Part
		want string
	}{
		{seen(0.3, 0.9), WhyDisagreement}, {seen(0.3, 0.4), ""}, {seen(0.6, 0.9), ""}, {vision.Part{}, ""},
		{views(0.3, 0.9), WhyDisagreement}, {views(0.9, 0.3), WhyDisagreement}, {views(0.3, 0.4), ""}, {views(0.8, 0.9), ""},
	} {
		d := rule.Decide(t.Context(), c2.part, 8, 8)
		if why := c.doubt(t.Context(), judge{rule.Decide, 8, 8}, &c2.part, d, 0); why != c2.want {
			t.Errorf("%+v: %q", c2.part.Defects, why)
		}
	}
}

// TestCamerasOfSeveralSizes: what each camera shows is judged in its own picture.
func TestCamerasOfSeveralSizes(t *testing.T) {
	inside := func(_ context.Context, p vision.Part, width, _ int) vision.Decision {
		for _, e := range p.Defects {
			if e.Box.X > float32(width)/2 {
				return vision.Decision{Verdict: vision.Fail}
			}
		}
		return vision.Decision{Verdict: vision.Pass}
	}
	p := vision.Part{Views: []vision.View{{Width: 640}, {Width: 1920}}, Defects: []vision.Evidence{{Box: vision.Box{X: 700}, View: 1}}}
	c := &Cascade{Disagreement: true}
	if why := c.doubt(t.Context(), judge{inside, 640, 480}, &p, vision.Decision{Verdict: vision.Pass}, 0); why != "" {
		t.Errorf("in the left half of the second camera's picture: %s", why)
	}
	p.Defects[0].Box.X = 1000
	if why := c.doubt(t.Context(), judge{inside, 640, 480}, &p, vision.Decision{Verdict: vision.Pass}, 0); why != WhyDisagreement {
		t.Errorf("in its right half: %q", why)
	}
}

// TestGivesWay: where the large model can't look the part gets the configured answer,
// which tells why. One that the rule asked for is never passed by that.
func TestGivesWay(t *testing.T) {
	band := Cascade{Band: &Band{0.2, 0.3}}
	small, cheap := band, band
	small.Small = true
	cheap.Budget = time.Nanosecond
	for name, c := range map[string]struct {
		set     Cascade
		rule    string
		prepare func(*running, *Station, *Cascade)
		missed  string
		want    vision.Verdict
	}{
		"overload":               {band, crack, func(r *running, s *Station, _ *Cascade) { press(r, s) }, MissedOverload, vision.None},
		"overload, as it was":    {small, crack, func(r *running, s *Station, _ *Cascade) { press(r, s) }, MissedOverload, vision.Fail},
		"overload, asked":        {Cascade{Small: true}, "asking", func(r *running, s *Station, _ *Cascade) { press(r, s) }, MissedOverload, vision.None},
		"the budget":             {cheap, crack, nil, MissedBudget, vision.None},
		"too slow":               {small, crack, func(r *running, s *Station, c *Cascade) { slowed(t, s, c) }, MissedLate, vision.Fail},
		"a model that went away": {band, crack, func(r *running, _ *Station, c *Cascade) { r.crew.remove(c.Large) }, MissedDown, vision.None},
	} {
		t.Run(name, func(t *testing.T) {
			if c.rule == "asking" {
				c.rule = asking(t)
			}
			l := cascade(t, doubting, trusting, c.rule, c.set)
			r, s := doubtful(t, l, nil)
			if c.prepare != nil {
				c.prepare(r, s, l.Cascade)
			}
			a, i := r.seen()
			if last := i.Looks[len(i.Looks)-1]; last.Missed != c.missed || last.Score != nil || last.Model.Name != "large" {
				t.Errorf("looked: %s", looks(i))
			}
			if a.Verdict != c.want || c.want == vision.None && a.Reason != vision.ReasonDoubt || i.Model.Name != "first" {
				t.Errorf("%v %s by %s", a.Verdict, a.Reason, i.Model.Name)
			}
			if st := s.budget.stats(); st.Missed[c.missed] == 0 || len(st.Looks) > 0 || st.Cost != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// press calls for the first degradation step, which a station with triggers doesn't have.
func press(r *running, s *Station) {
	r.Pressure("heat", 0.5)
	r.eventually("pressure", func() bool { return s.strained() && s.step() == sched.Full })
}

// slowed makes the large model's runs look too long for the station's deadline.
func slowed(t testing.TB, s *Station, c *Cascade) {
	t.Helper()
	for range 2 {
		turn, err := s.large.Take(t.Context(), sched.Ask{Model: s.costs(costName(c.About)), Newest: func() (time.Time, bool) { return time.Now(), true }})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(600 * time.Millisecond)
		turn.Done(true)
	}
	s.cfg.Deadline = 500 * time.Millisecond
}

// TestLargeModelHangs: a large model that is frozen, or dies, keeps no part from its
// answer by its deadline, and looks again once it is back.
func TestLargeModelHangs(t *testing.T) {
	l := cascade(t, doubting, trusting, crack, Cascade{Band: &Band{0.2, 0.3}, Small: true})
	r, s := doubtful(t, l, nil)
	pid := pidOf(t, "large")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a := r.trigger(Trigger{Deadline: time.Second})
	for range 20 { // a busy machine may lose the picture
		if a.Reason != vision.ReasonNoFrame && a.Reason != vision.ReasonNotRecorded {
			break
		}
		a = r.trigger(Trigger{Deadline: time.Second})
	}
	if a.Verdict != vision.Fail || a.Latency > 1200*time.Millisecond {
		t.Errorf("frozen: %+v", a)
	}
	if i := r.result(a); looks(i) != "first part 0.24, large band missed late" {
		t.Errorf("frozen: %s", looks(i))
	}
	r.eventually("room for the next trigger, while the frozen model still has a picture", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pending == 0
	})
	if s.large.Stats().Holding == 0 {
		t.Error("the frozen model has no picture any more")
	}
	answered := make(chan Answer, 1)
	go func() { answered <- r.inspects() }()
	r.eventually("a second look", func() bool { return s.large.Stats().Holding+s.large.Stats().Waiting > 1 })
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a = <-answered
	if i := r.result(a); a.Verdict != vision.Fail || looks(i) != "first part 0.24, large band missed failed" && looks(i) != "first part 0.24, large band missed down" {
		t.Errorf("killed: %+v, %s", a, looks(i))
	}
	r.eventually("a large model that looks again", func() bool {
		a := r.inspects()
		return a.Verdict == vision.Pass && r.result(a).Model.Name == "large"
	})
}
