package agent

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// judge looks at everything that was asked, told and written.
func (c *campaign) judge() {
	answers := c.answers()
	rows := c.rows()
	told := map[string]*Inspection{}
	for _, i := range c.told {
		if i.Part.Trigger == "" {
			continue
		}
		if key := i.Station + " " + i.Part.Trigger; told[key] != nil {
			c.t.Errorf("trigger %s was told twice", key)
		}
		told[i.Station+" "+i.Part.Trigger] = i
	}
	reasons, attempts := map[string]int{}, map[string][]int{}
	for key, s := range answers {
		a, i, r := s.answer, told[key], rows[key]
		reasons[a.Verdict.String()+" "+a.Reason]++
		if i == nil || len(r) != 1 {
			c.t.Errorf("trigger %s, answered %+v: told %v, %d results in the journal", key, a, i != nil, len(r))
			continue
		}
		if w := r[0].Answer(); w.Verdict != a.Verdict || w.Reason != a.Reason || i.Told.Verdict != a.Verdict || a.Seq != 0 && a.Seq != r[0].Seq || r[0].Attempt != a.Attempt {
			c.t.Errorf("trigger %s: answered %+v, the journal has %+v", key, a, r[0])
		}
		if s.ask.Part != "" {
			attempts[s.station+" "+s.ask.Part] = append(attempts[s.station+" "+s.ask.Part], a.Attempt)
		}
		if a.Verdict == vision.Pass {
			c.judgePass(s, i)
		}
	}
	for part, all := range attempts {
		slices.Sort(all)
		for n, attempt := range all {
			if attempt != n+1 {
				c.t.Errorf("part %s: attempts %v", part, all)
				break
			}
		}
	}
	if len(told) != len(answers) || len(rows) != len(answers) {
		c.t.Errorf("%d triggers, %d told, %d in the journal", len(answers), len(told), len(rows))
	}
	c.punctual()
	c.summary(reasons, len(answers))
}

// answers are the triggers with their one answer; those that were given again must
// have it too.
func (c *campaign) answers() map[string]*shot {
	out := map[string]*shot{}
	for _, s := range c.shots {
		if s.err != nil {
			c.t.Errorf("%+v: %v", s.ask, s.err)
			continue
		}
		key := s.station + " " + s.answer.Trigger
		if s.answer.Repeated {
			continue
		}
		if out[key] != nil {
			c.t.Errorf("trigger %s was inspected twice", key)
		}
		out[key] = s
	}
	for _, s := range c.shots {
		if !s.answer.Repeated || s.err != nil {
			continue
		}
		first := out[s.station+" "+s.answer.Trigger]
		if first == nil || s.ask.ID == "" {
			c.t.Errorf("%+v: there was no such trigger before", s.answer)
			continue
		}
		if a, b := first.answer, s.answer; a.Verdict == vision.None && b.Verdict == vision.None && b.Reason == vision.ReasonLate {
			continue // its deadline came before the first one's answer, which rejects as well
		} else if a.Verdict != b.Verdict || a.Reason != b.Reason || a.Seq != b.Seq || a.Attempt != b.Attempt || a.Part != b.Part {
			c.t.Errorf("the same trigger got two answers: %+v, %+v", a, b)
		}
	}
	return out
}

// rows are the journal's results of triggers.
func (c *campaign) rows() map[string][]api.Result {
	all, _, err := c.journal.Query(0, 1<<20, isResult)
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string][]api.Result{}
	for _, row := range all {
		r, ok := fromRow(row)
		if !ok {
			c.t.Fatalf("row %d is no result", row.Seq)
		}
		if r.Trigger != "" {
			out[r.Station+" "+r.Trigger] = append(out[r.Station+" "+r.Trigger], r)
		}
	}
	return out
}

// judgePass sees whether a PASS rests on fresh pictures of its part, of all cameras.
func (c *campaign) judgePass(s *shot, i *Inspection) {
	at := s.ask.At
	if at.IsZero() {
		at = s.sent
	}
	views := i.Part.Views
	if len(views) == 0 {
		views = []vision.View{{Camera: i.Camera, Seq: i.Part.Best, Captured: i.Part.BestSeen}}
	}
	if len(views) != c.views(s.station) || i.Part.Frames != len(views) || i.Part.Box.Area() == 0 {
		c.t.Errorf("PASS of %s rests on %d views: %+v", s.answer.Trigger, len(views), i.Part)
	}
	if s.ask.Recipe != "" && s.ask.Recipe != i.Recipe {
		c.t.Errorf("PASS of %s by recipe %q, which was to be %q", s.answer.Trigger, i.Recipe, s.ask.Recipe)
	}
	for _, v := range views {
		if v.Captured.Before(at) {
			c.t.Errorf("PASS of %s: the picture is %v older than its trigger", s.answer.Trigger, at.Sub(v.Captured))
		}
		if age := i.Decided.Sub(v.Captured); age > campaignAge {
			c.t.Errorf("PASS of %s: the picture was %v old", s.answer.Trigger, age)
		}
		const way = 350 * time.Millisecond // from drawing to the camera's process, on a machine that is busy
		if b := c.belts[v.Camera]; !b.showed(v.Captured.Add(-way), v.Captured) {
			c.t.Errorf("PASS of %s: %s showed no part when its picture %d was taken, nor %v before", s.answer.Trigger, v.Camera, v.Seq, way)
		}
	}
}

// lateness is how late a client had its answers, and bare timers rang, in order.
func (c *campaign) lateness() (answers, timers []time.Duration) {
	for _, s := range c.shots {
		if s.rang == s.by { // after the faults
			continue
		}
		answers = append(answers, s.back.Sub(s.by))
		timers = append(timers, s.rang.Sub(s.by))
	}
	slices.Sort(answers)
	slices.Sort(timers)
	return answers, timers
}

// quantile of what is sorted. A share of few is one of them, never none: the last is
// left out of any number.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(min(int(q*float64(len(sorted))), len(sorted)-2), 0)]
}

// punctual compares the answers with bare timers. Between an answer's timer and its
// client there are the recorder and a channel: each may be kept waiting by the machine
// as a timer is, and beside that by 5 ms, in one of a thousand.
func (c *campaign) punctual() {
	answers, timers := c.lateness()
	if got, most := quantile(answers, 0.999), 2*quantile(timers, 0.999)+5*time.Millisecond; got > most {
		c.t.Errorf("answers come %v after their deadline (99.9 %%), bare timers %v", got, quantile(timers, 0.999))
	}
	for _, d := range []time.Duration{5 * time.Millisecond, 20 * time.Millisecond} {
		if got, most := over(answers, d), over(timers, d)+(len(timers)+999)/1000; got > most {
			c.t.Errorf("%d answers come more than %v after their deadline, and %d bare timers", got, d, over(timers, d))
		}
	}
}

func over(sorted []time.Duration, d time.Duration) (n int) {
	for _, x := range sorted {
		if x > d {
			n++
		}
	}
	return n
}

// summary tells what was seen.
func (c *campaign) summary(reasons map[string]int, n int) {
	answers, timers := c.lateness()
	var text strings.Builder
	for _, key := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int { return reasons[b] - reasons[a] }) {
		fmt.Fprintf(&text, "\n  %5d %s", reasons[key], key)
	}
	for _, key := range slices.Sorted(maps.Keys(c.faults.count)) {
		fmt.Fprintf(&text, "\n  %5d× %s", c.faults.count[key], key)
	}
	c.t.Logf("%d calls, %d triggers in %v; %s; disk %+v%s", len(c.shots), n, time.Since(c.began).Round(time.Second), c.load, c.Recorder(), text.String())
	for _, d := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		c.t.Logf("more than %v after the deadline: %d answers, %d bare timers", d, over(answers, d), over(timers, d))
	}
	c.t.Logf("99 %%, 99.9 %%, most: answers %v %v %v, bare timers %v %v %v", quantile(answers, 0.99), quantile(answers, 0.999), answers[len(answers)-1],
		quantile(timers, 0.99), quantile(timers, 0.999), timers[len(timers)-1])
	if !c.t.Failed() {
		c.t.Logf("without an answer, with two, or a PASS that isn't of its part: 0 of %s (≤ %.2g %% at 95 %%)", thousands(n), 300/float64(n))
	}
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// left is what a campaign must leave as it was.
type left struct {
	goroutines, files int
	children          []int
}

var startOnce sync.Once

func leavings(t testing.TB) left {
	t.Helper()
	startOnce.Do(func() { // what starts processes stays for good
		p, err := shm.Command{Path: "/bin/true", Log: quiet}.Start()
		if err != nil {
			t.Fatal(err)
		}
		p.Stop(time.Second)
	})
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return left{runtime.NumGoroutine(), len(files), offspring()}
}

// compare waits until nothing more is there than before.
func (before left) compare(t testing.TB) {
	t.Helper()
	var now left
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		runtime.GC() // connections that nobody holds any more
		if now = leavings(t); now.goroutines <= before.goroutines && now.files <= before.files && len(now.children) <= len(before.children) {
			return
		}
	}
	var stacks strings.Builder
	buf := make([]byte, 1<<20)
	stacks.Write(buf[:runtime.Stack(buf, true)])
	names, _ := filepath.Glob("/proc/self/fd/*") // the pattern is good
	for _, n := range names {
		to, _ := os.Readlink(n) // it may be closed
		fmt.Fprintln(&stacks, n, to)
	}
	t.Errorf("left behind: %+v, before %+v\n%s", now, before, stacks.String())
}
