package api

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/internal/web"
)

// updateView is how a station is with its bundle, as a page shows it.
type updateView struct {
	Follows  string // name of the bundle
	Active   *Bundle
	Unsigned bool
	Runs     string // what runs where no bundle does
	Mark     string
	Next     *nextView
	Failure  *failureView
	Swap     *swapView
}

// nextView is a bundle on its way, as one bar.
type nextView struct {
	Words, Why string
	Spoken     string // the bar for those who don't see it
	Steps      []stepView
	Approve    string // address of the form; empty where nothing waits for an OK
	Button     string
	Change     string // old → new
}

// stepView is a part of the bar, in hundredths of it.
type stepView struct {
	Name, Class       string // done, at or empty
	At, Width, Filled int
}

type failureView struct {
	Words, Text string
	At          *time.Time
	Pictures    []pictureView
}

type pictureView struct{ Name, URL string }

// viewUpdate is nil for a station that runs what is part of the program, follows no
// bundle, and had no other model swapped in: there is nothing to say.
func viewUpdate(s *Station) *updateView {
	if s.Bundle == "" && s.Signed && s.Swap == nil {
		return nil
	}
	v := &updateView{Follows: s.Bundle, Unsigned: !s.Signed, Mark: "wait", Swap: s.Swap.view()}
	switch {
	case !s.Signed:
		v.Mark, v.Runs = "bad", "Runs "+named(s.Model.Name, s.Model.Version)+", a file that nobody signed."
	case s.Bundle == "":
		v.Mark, v.Runs = "info", "Runs "+named(s.Model.Name, s.Model.Version)+", which is part of the program."
	case s.Model.Name != "":
		v.Mark, v.Runs = "info", "Runs "+named(s.Model.Name, s.Model.Version)+", which is part of the program, until the first bundle is here."
	default:
		v.Runs = "Inspects nothing until the first bundle is here. Roll it out from the fleet, or install it from a folder."
	}
	u := s.Update
	if u == nil {
		return v
	}
	v.Active = u.Active
	if n := u.Next; n != nil && n.place() >= 0 && n.Phase != Committed {
		v.Next = n.view(s, u.Active)
	}
	if f := u.Failure; f != nil {
		v.Failure = f.view(s.Bundle)
	}
	return v
}

func named(name, version string) string { return strings.TrimSpace(name + " " + version) }

// steps are the bar's, from assigned to committed.
var steps = []string{"Fetch", "Prove", "Switch", "Watch"}

// place is the step that a bundle is at; -1 for one that won't go on.
func (c *Coming) place() int {
	switch c.Phase {
	case Assigned, Transfer:
		return 0
	case Staged:
		return 1
	case Gated, Waiting:
		return 2
	case Probation:
		return 3
	case Committed:
		return len(steps)
	}
	return -1
}

func (c *Coming) view(s *Station, active *Bundle) *nextView {
	name, at := named(c.Name, c.Version), c.place()
	v := &nextView{Why: c.Text}
	switch c.Phase {
	case Assigned:
		v.Words = name + " is assigned, nothing is done yet"
	case Transfer:
		v.Words = name + " is being fetched"
		if c.Total > 0 {
			v.Words += fmt.Sprintf(": %s of %s", size(c.Done), size(c.Total))
		}
	case Staged:
		v.Words = name + " is verified and proves itself on this device"
	case Gated:
		v.Words = name + " has proved itself on this device"
		if c.Unmeasured != "" {
			v.Words, v.Why = name+" passed its golden pictures, unmeasured on this device", c.Unmeasured
		}
	case Waiting:
		v.Words = name + " waits for its window"
		if c.Reason != "window" {
			v.Words = name + " waits for your OK"
		}
		v.Approve, v.Button = "/stations/"+url.PathEscape(s.ID)+"/approve", "Switch to "+name
		v.Change = "Between two parts: " + before(s, active) + " → " + name
	case Probation:
		v.Words = name + " is active and watched"
	}
	const gap = 1 // between two steps
	width := (100 - gap*(len(steps)-1)) / len(steps)
	for i, step := range steps {
		st := stepView{Name: step, At: i * (width + gap), Width: width}
		switch {
		case i < at:
			st.Class, st.Filled = "done", width
		case i == at:
			st.Class, st.Filled = "at", width/2
			if c.Phase == Assigned || c.Phase == Transfer {
				st.Filled = 0
				if c.Total > 0 {
					st.Filled = int(float64(width) * min(1, float64(c.Done)/float64(c.Total)))
				}
			}
		}
		v.Steps = append(v.Steps, st)
	}
	v.Spoken = fmt.Sprintf("step %d of %d: %s", at+1, len(steps), steps[at])
	return v
}

// before is what runs now.
func before(s *Station, active *Bundle) string {
	switch {
	case active != nil:
		return named(active.Name, active.Version)
	case s.Model.Name != "":
		return named(s.Model.Name, s.Model.Version)
	}
	return "nothing"
}

func (f *Failure) view(bundle string) *failureView {
	name := named(f.Name, f.Version)
	if name == "" {
		name = "A bundle for " + bundle
	}
	v := &failureView{Words: name + " was refused", Text: web.Sentence(f.Text), At: f.At}
	if f.Phase == RolledBack {
		v.Words = name + " was rolled back"
	}
	for _, p := range f.Pictures {
		v.Pictures = append(v.Pictures, pictureView{p, "/v1/updates/pictures/" + url.PathEscape(p)})
	}
	return v
}
