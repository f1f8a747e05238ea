package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/sightline-edge/sightline/internal/web"
)

// lineView is what a page shows of triggers, recipes, the schedule and the doors to
// the line's controller.
type lineView struct {
	Class, Mark, Text string // whether triggers are taken, or how it is turned down
	Rows              []lineRow
	Recipes           []recipeButton
	Action            string // where a recipe is sent
	Doors             []doorView
}

type lineRow struct{ Name, Value, More string }

type recipeButton struct {
	Name   string
	Active bool
}

type doorView struct{ Class, Mark, Name, Text, More string }

// viewLine is nil for a station of which nothing is to be said: it follows parts by
// itself, at full.
func viewLine(n *Now, s *Station) *lineView {
	v := &lineView{Action: "/stations/" + s.ID + "/recipe"}
	for _, d := range n.Doors {
		if d.Station == s.ID {
			v.Doors = append(v.Doors, viewDoor(&d))
		}
	}
	for _, r := range s.Recipes {
		v.Recipes = append(v.Recipes, recipeButton{r, r == s.Recipe})
	}
	c := s.Schedule
	plain := s.Mode != "trigger" && len(v.Recipes) == 0 && len(v.Doors) == 0 && c.Criticality == "normal" && c.MinRate == 0 && s.Cascade == nil
	if plain && s.Degraded.Step == "full" {
		return nil
	}
	v.state(s)
	v.row("Goes", map[string]string{"critical": "first, as critical", "best_effort": "last, as best effort"}[c.Criticality], "")
	if c.MinRate > 0 {
		v.row("Needs", fmt.Sprintf("%.3g pictures/s", c.MinRate), "of each camera")
	}
	v.row("Turns", web.Count(int(c.Turns)), fmt.Sprintf("%s late, %s not begun because too late", web.Count(int(c.Late)), web.Count(int(c.RefusedLate+c.RefusedStale))))
	v.large(s.Cascade)
	var been []string
	for _, e := range []struct {
		name string
		n    uint64
	}{{"slower", s.Degraded.Slower}, {"smaller model", s.Degraded.Smaller}, {"no decision", s.Degraded.None}} {
		if e.n > 0 {
			been = append(been, fmt.Sprintf("%s %d×", e.name, e.n))
		}
	}
	v.row("Turned down", strings.Join(been, ", "), "")
	return v
}

func (v *lineView) row(name, value, more string) {
	if value != "" {
		v.Rows = append(v.Rows, lineRow{name, value, more})
	}
}

// state says whether triggers are taken, or how far the station is turned down.
func (v *lineView) state(s *Station) {
	why := ""
	if s.Degraded.Why != "" {
		why = ": " + s.Degraded.Why
	}
	switch {
	case s.Degraded.Step == "none":
		v.Class, v.Mark, v.Text = "bad", "bad", "Every part gets NO DECISION, the device is overloaded"+why
	case s.Degraded.Step == "smaller":
		v.Class, v.Mark, v.Text = "warn", "warn", "The smaller model looks"+why
	case s.Degraded.Step == "slower":
		v.Class, v.Mark, v.Text = "warn", "warn", "Fewer pictures are inspected"+why
	case s.Mode == "trigger" && !s.Ready:
		v.Class, v.Mark, v.Text = "bad", "wait", "Not ready for triggers: "+s.NotReady
	case s.Mode == "trigger":
		v.Class, v.Mark, v.Text = "good", "pass", "Ready for triggers"
	}
}

func viewDoor(d *Door) doorView {
	v := doorView{Class: "good", Mark: "pass", Name: map[string]string{"ascii": "ASCII", "modbus": "Modbus TCP", "gpio": "GPIO"}[d.Protocol] + " at " + d.Address}
	switch {
	case !d.Open:
		v.Class, v.Mark, v.Text = "bad", "bad", "shut: "+d.Fault
	case !d.Alive && d.HeartbeatMS >= 0:
		v.Class, v.Mark, v.Text = "bad", "bad", "the heartbeat has stopped"
	case d.Client != "":
		v.Text = d.Client + " is in"
	case d.Protocol == "gpio":
		v.Text = "open"
	default:
		v.Class, v.Mark, v.Text = "idle", "wait", "nobody is in"
	}
	v.More = fmt.Sprintf("%s triggers, %s missed", web.Count(int(d.Triggers)), web.Count(int(d.Missed)))
	return v
}

// recipeForm is putRecipe for the page's buttons.
func (s *Server) recipeForm(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("station")
	in := &putRecipeInput{Station: id}
	in.Body.Recipe = r.FormValue("recipe")
	if _, err := s.putRecipe(r.Context(), in); err != nil {
		s.message(w, statusOf(err), "The recipe was not changed", web.Sentence(err.Error())+".")
		return
	}
	http.Redirect(w, r, "/stations/"+id+"#line", http.StatusSeeOther)
}
