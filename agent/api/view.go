package api

import (
	"fmt"
	"math"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/vision"
)

// stationView is a station as a page shows it.
type stationView struct {
	*Station
	Here             bool
	Class, Mark      string // good, bad, warn or idle, and the mark that goes with it
	Word, Why        string
	Yield, Interval  string
	Parts            int
	Rejected, None   int
	Rate             string
	Latency          string // p99, ms
	Meter            int    // latency in % of the deadline, 2 to 100
	Over, Timed      bool   // later than the deadline; there is a latency
	Frames           string // the caption of the picture
	Width, Height    int
	Source, Deadline string
	Camera           string // whose live picture is shown
}

func viewStation(n *Now, s *Station) stationView {
	cam := n.first(s)
	v := stationView{
		Station: s, Yield: "–", Interval: "no parts yet", Rejected: int(s.Hour.Counts.Fail), None: int(s.Hour.Counts.None),
		Parts: int(s.Hour.Counts.Total()), Rate: rate(s.Hour.PerMinute), Deadline: milliseconds(s.DeadlineMS),
	}
	if y := s.Hour.Yield; y != nil {
		v.Yield = web.Percent(y.Value)
		v.Interval = web.Percent(y.Low) + "–" + web.Percent(y.High)
	}
	if v.Parts > 0 && s.DeadlineMS > 0 {
		v.Timed, v.Over = true, s.Hour.P99 > s.DeadlineMS
		v.Latency = milliseconds(s.Hour.P99)
		v.Meter = int(min(100, max(2, 100*s.Hour.P99/s.DeadlineMS))) // 2 can still be seen
	}
	v.look(cam, s.missed())
	v.say(n)
	return v
}

// look makes a camera the one whose live picture is shown.
func (v *stationView) look(c *Camera, missed uint64) {
	v.Camera, v.Width, v.Height, v.Source, v.Frames = c.ID, c.Width, c.Height, c.Source, caption(c, missed)
	if v.Width <= 0 || v.Height <= 0 {
		v.Width, v.Height = 16, 9
	}
}

// say finds the word, the colour and the mark of the band.
func (v *stationView) say(n *Now) {
	v.Why = v.StateText
	switch v.State {
	case Inspecting:
		v.Word, v.Class, v.Mark = "Inspecting", "good", "pass"
	case Starting:
		v.Word, v.Class, v.Mark = "Starting", "idle", "wait"
	case Ended:
		v.Word, v.Class, v.Mark = "Source is over", "idle", "end"
	case Stalled:
		v.Word, v.Class, v.Mark = "Stalled", "bad", "bad"
	default:
		v.Word, v.Class, v.Mark = "Not inspecting", "bad", "bad"
	}
	if v.State != Inspecting {
		return
	}
	for _, w := range n.Health { // the worst come first
		if w.Subject != "" && !v.now(w) {
			continue
		}
		switch {
		case w.Severity == health.Error:
			v.Class, v.Mark, v.Why = "bad", "bad", web.Sentence(w.Text)
		case w.Severity == health.Warn:
			v.Class, v.Mark = "warn", "warn"
		}
		return
	}
}

// caption is what stands over the live picture.
func caption(c *Camera, missed uint64) string {
	if c.LastFrame == nil {
		if c.Error != "" {
			return c.Error
		}
		return "no picture yet"
	}
	age := time.Since(*c.LastFrame)
	text := fmt.Sprintf("%.0f /s", c.Rate)
	if age < freshFor {
		text += fmt.Sprintf(" · %.2f s old", max(0, age.Seconds()))
	} else {
		text = "newest picture " + web.Age(age) + " old"
	}
	return text + fmt.Sprintf(" · %s not inspected", web.Count(int(c.Dropped.Total()+missed)))
}

// partView is a part as a page shows it.
type partView struct {
	Seq                uint64
	ID, Station, Label string
	Verdict            vision.Verdict // as it was told
	Why                string         // empty for a part that is well
	Picture, URL       string
	Decided            time.Time
	Key                string // names the part among others on a page
}

func viewPart(r *Result) partView {
	told := r.Answer()
	p := partView{
		Seq: r.Seq, ID: r.ID, Station: r.Station, Label: r.Label, Verdict: told.Verdict, Why: vision.ReasonText(told.Reason),
		Picture: r.Picture, Decided: r.Decided, URL: fmt.Sprintf("/results/%d", r.Seq), Key: fmt.Sprintf("%s/%d", r.ID, r.Seq),
	}
	if told.Verdict == vision.Pass && told.Reason == "ok" {
		p.Why = ""
	}
	return p
}

// rate of parts a minute, to a tenth below ten.
func rate(perMinute float64) string {
	if perMinute > 0 && perMinute < 9.95 {
		return fmt.Sprintf("%.1f", perMinute)
	}
	return fmt.Sprintf("%.0f", perMinute)
}

// milliseconds to a tenth below ten.
func milliseconds(ms float64) string {
	if ms > 0 && ms < 9.95 && ms != math.Trunc(ms) {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
