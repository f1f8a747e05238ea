package api

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// deviceView is a device as a page shows it.
type deviceView struct {
	*Device
	Name, URL            string // its label, or its id without one
	order                string // to sort by
	Class, Mark          string // good, bad, warn or idle, and the mark that goes with it
	Old                  bool   // what it told isn't of now
	Word, For            string // its presence, and how long or since when
	Reason, Do, About    string // the worst that needs a person, and of which station it is
	More                 int    // other things that do
	Chips                []chip // its stations
	Left                 int    // stations that aren't among them
	Model, Digest        string // what runs; "several" where that differs
	Backlog              string
	Behind               bool
	Ends, CertTitle      string // of the certificate
	LastURL, LastAge     string
	LastVerdict          vision.Verdict
	LastWhere, LastTitle string
}

// chip is a station in a row.
type chip struct {
	ID, Class, Mark, Word, Title string
	Unsigned                     bool // it runs a file that nobody signed
	Unmeasured                   bool // its bundle passed its golden pictures, which is no proof there
}

const maxChips = 3

// passedUnmeasured is what is said of a bundle on a device where its golden pictures,
// though they came out right, are no proof.
const passedUnmeasured = "passed its golden pictures, unmeasured on this device"

func viewDevice(d *store.Device, now time.Time) deviceView {
	full := newDevice(d, now)
	v := deviceView{Device: &full, Name: full.Label, URL: "/devices/" + full.ID}
	if v.Name == "" {
		v.Name = full.ID
	}
	v.order = natural(v.Group) + "\x00" + natural(v.Name)
	v.Old = full.Presence != store.Online
	v.say(now)
	v.Model, v.Digest = running(full.Stations)
	for i, st := range full.Stations {
		if i == maxChips {
			v.Left = len(full.Stations) - i
			break
		}
		v.Chips = append(v.Chips, viewStation(&st))
	}
	if j := full.Journal; j != nil {
		v.Backlog, v.Behind = web.Count(int(j.Backlog)), j.Backlog > 0
		if v.Old && v.Behind {
			v.Backlog = "≥ " + v.Backlog
		} else if v.Old {
			v.Backlog = "" // it goes on inspecting, nobody knows how much
		}
	}
	if end := d.CertNotAfter; !end.IsZero() {
		v.CertTitle = "certificate " + d.CertSerial + " until " + web.Stamp(end)
		v.Ends = "ended"
		if now.Before(end) {
			v.Ends = web.Age(end.Sub(now))
		}
	}
	if l := full.Last; l != nil {
		v.LastURL, v.LastVerdict, v.LastAge = fmt.Sprintf("/results/%d", l.FleetID), l.Verdict, web.Age(now.Sub(l.Received))
		v.LastWhere, v.LastTitle = l.Station, l.Part+", received "+web.Stamp(l.Received)
	}
	return v
}

var digits = regexp.MustCompile(`[0-9]+`)

// natural is a name that sorts as people count: press 2 before press 10.
func natural(name string) string {
	return digits.ReplaceAllStringFunc(strings.ToLower(name), func(n string) string { return strings.Repeat("0", max(0, 12-len(n))) + n })
}

// say finds the words, the colour and the mark.
func (v *deviceView) say(now time.Time) {
	age := web.Age(now.Sub(v.Since))
	switch v.Presence {
	case store.Online:
		v.Word, v.For, v.Mark, v.Class = "Online", "for "+age, "online", "good"
	case store.Stale:
		v.Word, v.For, v.Mark, v.Class = "Stale", "nothing heard for "+age, "wait", "warn"
	case store.Offline:
		v.Word, v.For, v.Mark, v.Class = "Offline", "for "+age, "offline", "warn"
	case store.Never:
		v.Word, v.For, v.Mark, v.Class = "Never connected", "enrolled "+age+" ago", "never", "idle"
	default:
		v.Word, v.For, v.Mark, v.Class = "Revoked", age+" ago", "revoked", "idle"
	}
	for _, w := range v.Warnings { // the worst come first
		if w.Severity == health.Info && w.Code != deviceRevoked.Code {
			break
		}
		if v.Reason != "" {
			v.More++
			continue
		}
		v.About, v.Reason, v.Do = w.Subject, web.Sentence(w.Text), w.Do
		if w.Subject != "" {
			v.Reason = w.Text
		}
		switch {
		case w.Severity == health.Error:
			v.Class = "bad"
			if v.Presence == store.Online {
				v.Mark = "bad"
			}
		case w.Severity == health.Warn:
			v.Class = "warn"
			if v.Presence == store.Online {
				v.Mark = "warn"
			}
		}
	}
}

// needs reports whether a person should look at the device. A revoked one
// needs nobody.
func (v *deviceView) needs() bool { return v.Reason != "" && v.Presence != store.Revoked }

// rank orders devices that need a person, the worst first.
func (v *deviceView) rank() int {
	switch {
	case v.Class == "bad":
		return 0
	case v.Presence == store.Offline:
		return 1
	case v.Presence == store.Stale:
		return 2
	}
	return 3
}

func viewStation(s *Station) chip {
	c := chip{ID: s.ID, Title: strings.TrimSpace(s.State + " " + s.Text), Unsigned: s.Unsigned, Unmeasured: s.Unmeasured != ""}
	switch less := s.degraded(); {
	case s.State != "inspecting" || less == "":
	case s.Step == "none":
		c.Class, c.Mark, c.Word = "bad", "bad", less
		return c
	default:
		c.Class, c.Mark, c.Word = "warn", "warn", less
		return c
	}
	switch s.State {
	case "inspecting":
		c.Class, c.Mark, c.Word = "good", "pass", "inspecting"
	case "stalled", "failed":
		c.Class, c.Mark, c.Word = "bad", "bad", s.State
	case "ended":
		c.Class, c.Mark, c.Word = "idle", "end", "source is over"
	case "starting":
		c.Class, c.Mark, c.Word = "idle", "wait", s.State
	default: // of a newer agent
		c.Class, c.Mark, c.Word = "idle", "info", s.State
	}
	return c
}

// degraded says how far a station is turned down, "" if it isn't.
func (s *Station) degraded() string {
	switch s.Step {
	case "", "full":
		return ""
	case "none":
		return "overloaded, rejects all"
	case "slower":
		return "turned down: fewer pictures"
	case "smaller":
		return "turned down: smaller model"
	}
	return "turned down" // of a newer agent
}

// running is the model of all stations, or that they have several.
func running(all []Station) (name, digest string) {
	for i, st := range all {
		is := strings.TrimSpace(st.Model + " " + st.ModelVersion)
		if i > 0 && (is != name || st.ModelDigest != digest) {
			return "several", ""
		}
		name, digest = is, st.ModelDigest
	}
	return name, digest
}

// resultView is a result as a page shows it.
type resultView struct {
	ID                                int64
	URL, Part, Device, Station, Label string
	DeviceName                        string
	Asked                             string         // by which trigger, under which recipe, for the how manieth time; empty for a part that was followed
	Verdict                           vision.Verdict // as it was told
	Why                               string         // empty for a part that is well
	Received                          time.Time
	Late                              string // how long it took to come, if that is worth telling
}

// lateAfter is how long a result may take from its decision to the fleet
// before a page tells it: a backlog, or a clock that is wrong.
const lateAfter = time.Minute

func viewResult(r *store.Row, names map[string]string) resultView {
	v := resultView{
		ID: r.ID, URL: fmt.Sprintf("/results/%d", r.ID), Part: r.Part, Device: r.Device, Station: r.Station, Label: r.Label,
		DeviceName: names[r.Device], Verdict: r.Verdict, Why: vision.ReasonText(r.Reason), Received: r.Received, Asked: asked(r.Record),
	}
	if v.Part == "" {
		v.Part = "no part id"
	}
	if v.DeviceName == "" {
		v.DeviceName = r.Device
	}
	if r.Verdict == vision.Pass && r.Reason == "ok" {
		v.Why = ""
	}
	if took := r.Received.Sub(r.Decided); took > lateAfter {
		v.Late = web.Age(took)
	}
	return v
}

// asked is what a line tells of a result's trigger, as "trigger 812 · small ·
// attempt 2".
func asked(r *wire.Result) string {
	var parts []string
	if id := r.GetTriggerId(); id != "" {
		parts = append(parts, "trigger "+id)
	}
	if recipe := r.GetRecipe(); recipe != "" {
		parts = append(parts, recipe)
	}
	if n := r.GetAttempt(); n > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", n))
	}
	return strings.Join(parts, " · ")
}

// needView is one thing that needs a person.
type needView struct {
	Class, Mark, Subject, Text, Do string
	Since                          time.Time
	Key                            string // names it among others
}

// viewWarnings are all of a device's, or that there is none to act on.
func viewWarnings(all []health.Raised) []needView {
	list := []needView{}
	if len(all) == 0 || all[0].Severity == health.Info && all[0].Code != deviceRevoked.Code { // the worst come first
		list = append(list, needView{Class: "ok", Mark: "pass", Key: "ok", Text: "Nothing needs you", Do: "All is well as far as the device and the fleet can tell."})
	}
	for _, w := range all {
		v := needView{Class: w.Severity.String(), Mark: "info", Subject: w.Subject, Text: w.Text, Do: w.Do, Since: w.Since, Key: w.Code + " " + w.Subject}
		switch w.Severity {
		case health.Error:
			v.Mark = "bad"
		case health.Warn:
			v.Mark = "warn"
		}
		if v.Subject == "" {
			v.Text = web.Sentence(v.Text)
		}
		list = append(list, v)
	}
	return list
}

// fact is a line of what is known.
type fact struct{ Name, Value, More, Title string }

// facts of the board; what wasn't measured has none.
func (b *Board) facts() []fact {
	if b == nil {
		return nil
	}
	var list []fact
	add := func(name string, parts ...string) {
		var said []string
		for _, p := range parts {
			if p != "" {
				said = append(said, p)
			}
		}
		if len(said) > 0 {
			list = append(list, fact{Name: name, Value: said[0], More: strings.Join(said[1:], " · ")})
		}
	}
	add("Processor", share(b.CPU, "busy"), tell(b.Load, "load %.2f"))
	if b.MemoryTotal != nil && b.MemoryAvailable != nil {
		add("Memory", web.Size(*b.MemoryTotal-min(*b.MemoryAvailable, *b.MemoryTotal))+" of "+web.Size(*b.MemoryTotal)+" used")
	} else if b.MemoryTotal != nil {
		add("Memory", web.Size(*b.MemoryTotal))
	}
	for _, g := range b.GPUs {
		memory := ""
		if g.MemoryUsed != nil && g.MemoryTotal != nil {
			memory = web.Size(*g.MemoryUsed) + " of " + web.Size(*g.MemoryTotal)
		}
		add("GPU", share(g.Load, "busy"), tell(g.Temperature, "%.0f °C"), memory, tell(g.Power, "%.0f W"), g.Name)
	}
	var hot *Temperature
	for i := range b.Temperatures {
		if hot == nil || b.Temperatures[i].Value > hot.Value {
			hot = &b.Temperatures[i]
		}
	}
	if hot != nil {
		add("Hottest", fmt.Sprintf("%.0f °C", hot.Value), hot.Name)
	}
	if b.DiskFree != nil && b.DiskTotal != nil {
		add("Disk", web.Size(*b.DiskFree)+" free", "of "+web.Size(*b.DiskTotal))
	}
	return list
}

func tell(v *float32, format string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(format, *v)
}

func share(v *float32, word string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.0f %% %s", *v*100, word)
}
