package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/internal/web"
)

const (
	pageRollouts   = 40
	pageCrew       = 100 // devices shown
	barWidth       = 1000
	barGap         = 6 // between waves
	rolloutsEvents = "/v1/events?wake=true"
)

// rolloutView is a rollout as pages show it.
type rolloutView struct {
	*Rollout
	Class, Mark, Word string
	Bar               []piece
	Counts            []headcount
	Counted           int
	Measured          int // of Proven, those that aren't unmeasured
}

// piece is a part of the bar, in its units.
type piece struct {
	X, Width float64
	Class    string
	Title    string
}

// headcount is how many devices are in a state, for people.
type headcount struct {
	N           int
	Class, Word string
}

// stages are what a bar shows of a wave, in their order from proven to planned.
var stages = []struct {
	class, word string
	n           func(*Wave) int
}{
	{"s-proven", "proven", func(w *Wave) int { return w.Proven - w.Unmeasured }},
	{"s-unmeasured", "proven, unmeasured", func(w *Wave) int { return w.Unmeasured }},
	{"s-runs", "running, not proven", func(w *Wave) int { return w.Running }},
	{"s-works", "at work", func(w *Wave) int { return w.working() }},
	{"s-waits", "waiting", func(w *Wave) int { return w.Waiting }},
	{"s-failed", "failed", func(w *Wave) int { return w.Failed }},
	{"s-silent", "silent", func(w *Wave) int { return w.Silent }},
	{"s-away", "not connected", func(w *Wave) int { return w.Away }},
	{"s-done", "went back or cancelled", func(w *Wave) int { return w.Finished }},
	{"s-planned", "planned", func(w *Wave) int { return w.Planned }},
	{"s-out", "not counted", func(w *Wave) int { return w.Out }},
}

func (w *Wave) working() int {
	return w.Size - w.Proven - w.Running - w.Failed - w.Silent - w.Waiting - w.Away - w.Planned - w.Finished - w.Out
}

func viewRollout(r *Rollout) rolloutView {
	v := rolloutView{Rollout: r, Measured: r.Proven - r.Unmeasured}
	v.Class, v.Mark, v.Word = rolloutWord(r)
	size := 0
	for i := range r.Waves {
		size += r.Waves[i].Size
	}
	if size == 0 {
		return v
	}
	unit := float64(barWidth-barGap*(len(r.Waves)-1)) / float64(size)
	x := 0.0
	counts := make([]int, len(stages))
	for i := range r.Waves {
		for s, stage := range stages {
			n := stage.n(&r.Waves[i])
			counts[s] += n
			if n > 0 {
				v.Bar = append(v.Bar, piece{x, float64(n) * unit, stage.class, fmt.Sprintf("wave %d: %d %s", i+1, n, stage.word)})
				x += float64(n) * unit
			}
		}
		x += barGap
	}
	for s, stage := range stages {
		if counts[s] > 0 {
			v.Counts = append(v.Counts, headcount{counts[s], stage.class, stage.word})
		}
	}
	v.Counted = size - counts[len(stages)-1]
	return v
}

// rolloutWord tells a rollout's state at a glance.
func rolloutWord(r *Rollout) (class, mark, word string) {
	switch r.State {
	case rollout.Running:
		for _, w := range r.Waves {
			if w.Waiting > 0 {
				return "warn", "wait", "Waiting for people"
			}
		}
		return "idle", "wait", "Rolling out"
	case rollout.Paused:
		return "warn", "wait", "Paused"
	case rollout.Succeeded:
		if r.Unmeasured > 0 {
			return "good", "pass", "Proven, unmeasured on " + plural(r.Unmeasured, "device", "devices")
		}
		return "good", "pass", "Proven"
	case rollout.Halted:
		return "bad", "bad", "Halted"
	case rollout.Aborted:
		return "idle", "end", "Aborted"
	case rollout.RollingBack:
		return "warn", "wait", "Rolling back"
	case rollout.RolledBack:
		return "idle", "end", "Rolled back"
	}
	return "idle", "wait", r.State
}

// crewRow is one device of a rollout.
type crewRow struct {
	RolloutDevice
	Class, Mark, Word, Name string
	Part                    string // how much of the bundle it has, percent; "" where that isn't told
	For                     string
	Note                    string // of what passed its golden pictures and is unmeasured
}

// doubt tells what is unmeasured, and never as plainly proven.
func (r *crewRow) doubt() {
	if r.Doubt == "" {
		return
	}
	r.Note = passedUnmeasured + ": " + r.Doubt
	if r.State == rollout.Proven {
		r.Class, r.Mark, r.Word, r.Reason, r.Text = "", "info", "Proven, unmeasured", "", ""
	}
}

// deviceWords are the states of devices as pages tell them, the worst first.
var deviceWords = []struct{ state, class, mark, word string }{
	{rollout.Lying, "bad", "bad", "Proof refused"},
	{rollout.Failed, "bad", "fail", "Failed"},
	{rollout.Silent, "warn", "offline", "Silent"},
	{rollout.WaitsOperator, "warn", "wait", "Waits for operator"},
	{rollout.WaitsWindow, "warn", "wait", "Waits for its window"},
	{rollout.Probation, "", "online", "On probation"},
	{rollout.Proving, "", "online", "Runs it, not proven"},
	{rollout.Gated, "", "online", "Gate passed"},
	{rollout.Staged, "", "online", "Staged"},
	{rollout.Transferring, "", "online", "Transferring"},
	{rollout.Assigned, "", "wait", "Told to install"},
	{rollout.GoingBack, "warn", "wait", "Going back"},
	{rollout.Cancelling, "warn", "wait", "Cancelling"},
	{rollout.Proven, "good", "pass", "Proven"},
	{rollout.WentBack, "", "end", "Went back"},
	{rollout.Cancelled, "", "end", "Cancelled"},
	{rollout.Kept, "", "online", "Kept"},
	{rollout.Planned, "", "never", "Planned"},
	{rollout.NoStations, "", "none", "Not concerned"},
	{rollout.Gone, "", "revoked", "Revoked"},
}

func viewCrew(all []RolloutDevice, now time.Time) (rows []crewRow, left int) {
	order := func(state string) int {
		return slices.IndexFunc(deviceWords, func(w struct{ state, class, mark, word string }) bool { return w.state == state })
	}
	for _, d := range all {
		r := crewRow{RolloutDevice: d, Word: d.State, Mark: "wait", Name: cmp.Or(d.Label, d.Device), For: web.Age(now.Sub(d.Changed))}
		if i := order(d.State); i >= 0 {
			r.Class, r.Mark, r.Word = deviceWords[i].class, deviceWords[i].mark, deviceWords[i].word
		}
		if d.State == rollout.WaitsOperator && d.Reason == "operator" || d.State == rollout.WaitsWindow {
			r.Reason = "" // the word says it
		}
		r.doubt()
		if d.State == rollout.Transferring && d.Total > 0 {
			r.Part = web.Percent(min(1, float64(d.Done)/float64(d.Total)))
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b crewRow) int { return cmp.Or(order(a.State)-order(b.State), strings.Compare(a.Name, b.Name)) })
	if len(rows) > pageCrew {
		return rows[:pageCrew], len(rows) - pageCrew
	}
	return rows, 0
}

func (s *Server) rolloutsPage(w http.ResponseWriter, r *http.Request) {
	all, err := s.listRollouts(r.Context(), &rolloutsInput{Limit: pageRollouts})
	if err != nil {
		s.fault(w, r, err)
		return
	}
	data := struct {
		head
		Class, Mark, Word, Sub string
		Rollouts               []rolloutView
	}{head: newHead(r, "Rollouts", "rollouts", rolloutsEvents), Class: "idle", Mark: "end", Word: "Nothing is rolling out"}
	open := 0
	for i := range all.Body.Rollouts {
		v := viewRollout(&all.Body.Rollouts[i])
		data.Rollouts = append(data.Rollouts, v)
		if v.Ended != nil {
			continue
		}
		if open++; open == 1 || v.Class == "bad" && data.Class != "bad" {
			data.Class, data.Mark, data.Word, data.Sub = v.Class, v.Mark, v.Word, v.Bundle+" "+v.Version+": "+v.Reason
		}
	}
	if open == 0 && len(data.Rollouts) > 0 {
		data.Sub = "The last one ended " + web.Age(s.store.Now().Sub(*data.Rollouts[0].Ended)) + " ago."
	}
	s.render(w, http.StatusOK, "rollouts", data)
}

func (s *Server) rolloutPage(w http.ResponseWriter, r *http.Request) {
	out, err := s.getRollout(r.Context(), &rolloutInput{r.PathValue("id")})
	if err != nil {
		s.fault(w, r, err)
		return
	}
	v := viewRollout(&out.Body)
	data := struct {
		head
		rolloutView
		Figures                           []figure
		Crew                              []crewRow
		Left                              int
		Pause, Resume, Retry, Abort, Back bool // what may be done now
		Running                           int
	}{head: newHead(r, v.Bundle+" "+v.Version, "rollouts", rolloutsEvents), rolloutView: v}
	data.Crew, data.Left = viewCrew(v.Devices, s.store.Now())
	bad, waiting := 0, 0
	for i := range v.Waves {
		bad += v.Waves[i].Failed + v.Waves[i].Silent
		waiting += v.Waves[i].Waiting
		data.Running += v.Waves[i].Proven + v.Waves[i].Running
	}
	data.Figures = []figure{
		{"Proven", web.Count(v.Measured), "of " + web.Count(v.Counted), provenSub(v.Rollout)},
		{"Wave", web.Count(v.Wave), "of " + web.Count(len(v.Waves)), waveSub(v.Rollout)},
		{"Failed or silent", web.Count(bad), "", fmt.Sprintf("at most %s and %s", v.Conditions.MaxFailures, v.Conditions.MaxSilent)},
		{"Waiting", web.Count(waiting), "", "for people on the device"},
	}
	if who(r.Context()).may(operator) {
		data.Pause = v.State == rollout.Running
		data.Resume = v.State == rollout.Paused || v.State == rollout.Halted && v.Ended == nil
		data.Retry = data.Resume && bad > 0
		data.Abort = data.Pause || data.Resume
		data.Back = v.State != rollout.RollingBack && v.State != rollout.RolledBack
	}
	s.render(w, http.StatusOK, "rollout", data)
}

func provenSub(r *Rollout) string {
	if r.Unmeasured == 0 {
		return "devices"
	}
	return "devices; " + web.Count(r.Unmeasured) + " more unmeasured"
}

func waveSub(r *Rollout) string {
	if r.Wave < 1 || r.Wave > len(r.Waves) {
		return ""
	}
	return plural(r.Waves[r.Wave-1].Size, "device", "devices")
}

// rolloutForm does what a button says.
func (s *Server) rolloutForm(w http.ResponseWriter, r *http.Request) {
	c := change{act: r.PathValue("act"), again: r.PostFormValue("retry") != "", why: strings.TrimSpace(short(r.PostFormValue("reason")))}
	if c.why == "" && (c.act == "abort" || c.act == "rollback") {
		s.message(w, r, http.StatusUnprocessableEntity, "Say why", "The reason is kept with the rollout. Go back and give one.")
		return
	}
	_, err := s.changeRollout(r.Context(), r.PathValue("id"), c)
	var status huma.StatusError
	switch {
	case errors.As(err, &status) && status.GetStatus() == http.StatusConflict:
		s.message(w, r, http.StatusConflict, "That can't be done now", web.Sentence(status.Error())+".")
	case err != nil:
		s.fault(w, r, err)
	default:
		http.Redirect(w, r, "/rollouts/"+r.PathValue("id"), http.StatusSeeOther)
	}
}
