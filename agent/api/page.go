package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/vision"
)

const (
	lastParts  = 12 // on the page Now
	pageParts  = 48 // on the page Results
	freshFor   = 3 * time.Second
	maxQueries = 200 // length of a filter, bytes
)

func (s *Server) addPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /stations/{station}", s.stationPage)
	mux.HandleFunc("POST /stations/{station}/approve", s.approveForm)
	mux.HandleFunc("POST /stations/{station}/recipe", s.recipeForm)
	s.addCameraPages(mux)
	mux.HandleFunc("GET /results", s.resultsPage)
	mux.HandleFunc("GET /results/{seq}", s.partPage)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.message(w, http.StatusNotFound, "There is no such page", "Nothing is at "+r.URL.Path+".")
	})
}

// head is what every page has around its content.
type head struct {
	Title    string
	Nav      []web.Link
	Unsigned []string // stations that run a file that nobody signed
}

func newHead(title, here string, stations []Station) head {
	h := head{Title: title, Nav: []web.Link{
		{Name: "Now", URL: "/", Here: here == "now"},
		{Name: "Cameras", URL: "/cameras", Here: here == "cameras"},
		{Name: "Results", URL: "/results", Here: here == "results"},
	}}
	for i := range stations {
		if !stations[i].Signed {
			h.Unsigned = append(h.Unsigned, stations[i].ID)
		}
	}
	return h
}

func (s *Server) render(w http.ResponseWriter, status int, name string, data any) {
	if err := s.pages.Render(w, status, name, data); err != nil {
		s.log.Error("page", "err", err)
	}
}

func (s *Server) message(w http.ResponseWriter, status int, heading, text string) {
	s.render(w, status, "message", struct {
		head
		Heading, Text string
	}{newHead(heading+" · Sightline", "", s.source.Now().Stations), heading, text})
}

// fault shows an error that a handler of /v1 would have answered with.
func (s *Server) fault(w http.ResponseWriter, err error) {
	var status huma.StatusError
	if errors.As(err, &status) && status.GetStatus() == http.StatusNotFound {
		s.message(w, http.StatusNotFound, "There is no such thing", status.Error()+".")
		return
	}
	s.message(w, http.StatusServiceUnavailable, "The results can't be read now", "The journal doesn't answer; the log says why. Inspection isn't held up by this page.")
}

// home is the station's page, or all stations if there are several.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	n := s.now()
	if len(n.Stations) == 1 {
		s.nowPage(w, r, &n, &n.Stations[0])
		return
	}
	data := struct {
		head
		Stations []stationView
		Need     []needView
		Board    *boardView
	}{head: newHead("Stations · Sightline", "now", n.Stations), Need: needs(&n, ""), Board: viewBoard(n.Board)}
	for i := range n.Stations {
		data.Stations = append(data.Stations, viewStation(&n, &n.Stations[i]))
	}
	s.render(w, http.StatusOK, "overview", data)
}

func (s *Server) stationPage(w http.ResponseWriter, r *http.Request) {
	n := s.now()
	st := station(n.Stations, r.PathValue("station"))
	if st == nil {
		s.message(w, http.StatusNotFound, "There is no such station", "This device has no station "+strconv.Quote(r.PathValue("station"))+".")
		return
	}
	s.nowPage(w, r, &n, st)
}

func (s *Server) nowPage(w http.ResponseWriter, r *http.Request, n *Now, st *Station) {
	recent, err := s.recent(r.Context(), st)
	if err != nil {
		s.fault(w, err)
		return
	}
	seen := r.URL.Query().Get("camera")
	if !slices.ContainsFunc(st.Views, func(v View) bool { return v.Camera == seen }) {
		seen = ""
	}
	data := struct {
		head
		Station stationView
		Seen    string   // the camera whose live picture is shown, if the station has several
		Views   []string // all of them
		Switch  []stationView
		Parts   []partView
		Ghosts  []int // places that wait for a part
		Need    []needView
		Board   *boardView
		Update  *updateView
		Line    *lineView
		Model   *modelView
	}{
		head: newHead(st.ID+" · Sightline", "now", n.Stations), Station: viewStation(n, st), Seen: seen, Need: needs(n, st.ID), Board: viewBoard(n.Board),
		Update: viewUpdate(st), Line: viewLine(n, st), Model: viewModel(n, st),
	}
	for i := range recent {
		data.Parts = append(data.Parts, viewPart(&recent[i]))
	}
	if len(st.Views) > 1 {
		for _, v := range st.Views {
			data.Views = append(data.Views, v.Camera)
		}
		data.Seen = cmp.Or(seen, data.Views[0])
		data.Station.look(n.camera(data.Seen), st.missed())
	}
	data.Ghosts = make([]int, lastParts-len(data.Parts))
	if len(n.Stations) > 1 {
		for i := range n.Stations {
			v := viewStation(n, &n.Stations[i])
			v.Here = v.ID == st.ID
			data.Switch = append(data.Switch, v)
		}
	}
	s.render(w, http.StatusOK, "now", data)
}

// recent are the station's newest results, from memory, and what those lack
// after a restart from the journal.
func (s *Server) recent(ctx context.Context, st *Station) ([]Result, error) {
	list := st.Recent[:min(len(st.Recent), lastParts)]
	if len(list) == lastParts {
		return list, nil
	}
	older := Query{Station: st.ID, Limit: lastParts - len(list)}
	for i := range list {
		if seq := list[i].Seq; seq != 0 && (older.Before == 0 || seq < older.Before) {
			older.Before = seq
		}
	}
	results, _, err := s.page(ctx, older)
	return slices.Concat(list, results), err
}

// resultsFilter is what the page Results is asked for, as it stands in the URL.
type resultsFilter struct {
	Station, Verdict, Label, Part, Cursor string
}

func readFilter(q url.Values) resultsFilter {
	get := func(name string) string {
		v := q.Get(name)
		return v[:min(len(v), maxQueries)]
	}
	return resultsFilter{get("station"), get("verdict"), get("label"), get("part"), get("cursor")}
}

// link is the address of the page with another cursor.
func (f resultsFilter) link(cursor string) string {
	q := url.Values{}
	for name, v := range map[string]string{"station": f.Station, "verdict": f.Verdict, "label": f.Label, "part": f.Part, "cursor": cursor} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if len(q) == 0 {
		return "/results"
	}
	return "/results?" + q.Encode()
}

func (f resultsFilter) query() (Query, bool) {
	before, ok := parseCursor(f.Cursor)
	q := Query{Before: before, Limit: pageParts, Station: f.Station, Label: f.Label, Part: f.Part, Verdict: parseVerdict(f.Verdict)}
	return q, ok && (f.Verdict == "" || q.Verdict != nil)
}

func (s *Server) resultsPage(w http.ResponseWriter, r *http.Request) {
	f := readFilter(r.URL.Query())
	q, ok := f.query()
	if !ok {
		s.message(w, http.StatusBadRequest, "That address isn't one of ours", "A filter in it can't be read. Begin again at Results.")
		return
	}
	results, next, err := s.page(r.Context(), q)
	if err != nil {
		s.fault(w, err)
		return
	}
	stations := s.source.Now().Stations
	data := struct {
		head
		Filter        resultsFilter
		Filtered      bool
		Stations      []string
		Verdicts      []vision.Verdict
		Parts         []partView
		Newest, Older string
	}{
		head: newHead("Results · Sightline", "results", stations), Filter: f, Filtered: f.Station+f.Verdict+f.Label+f.Part != "",
		Verdicts: []vision.Verdict{vision.Pass, vision.Fail, vision.None},
	}
	for _, st := range stations {
		data.Stations = append(data.Stations, st.ID)
	}
	for i := range results {
		data.Parts = append(data.Parts, viewPart(&results[i]))
	}
	if f.Cursor != "" {
		data.Newest = f.link("")
	}
	if next != "" {
		data.Older = f.link(next)
	}
	s.render(w, http.StatusOK, "results", data)
}

func (s *Server) partPage(w http.ResponseWriter, r *http.Request) {
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
	if err != nil || seq == 0 {
		s.message(w, http.StatusNotFound, "There is no such result", "Results have numbers, as /results/4711.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pictureTime)
	defer cancel()
	res, err := s.result(ctx, seq)
	if err != nil {
		s.fault(w, err)
		return
	}
	s.render(w, http.StatusOK, "part", struct {
		head
		Part   partView
		Result *Result
		Shapes *shapesView
		Areas  bool // some evidence has one
		Looks  []lookView
	}{newHead(res.ID+" · Sightline", "", s.source.Now().Stations), viewPart(res), res, viewShapes(res),
		slices.ContainsFunc(res.Evidence, func(e Evidence) bool { return e.Area > 0 }), viewLooks(res)})
}

// needView is one thing that needs a person.
type needView struct {
	Class, Mark, Subject, Text, Do string
	Since                          time.Time
	Key                            string // names it among others
}

// needs are the warnings of the device and of one station; of all for "". A
// station that doesn't inspect is among them even where no warning says so;
// nor is a bundle that waits for an OK a warning; where nothing is worse than worth
// knowing, that is told first.
func needs(n *Now, station string) []needView {
	var list []needView
	for _, w := range n.Health {
		if station == "" || w.Subject == "" || n.concerns(station, w) {
			list = append(list, viewWarning(w, station))
		}
	}
	for _, s := range n.Stations {
		if (station != "" && s.ID != station) || (s.State != Stalled && s.State != Failed) {
			continue
		}
		told := slices.ContainsFunc(n.Health, func(w health.Raised) bool { return w.Severity == health.Error && s.now(w) })
		if !told {
			w := health.Raised{Code: "state", Severity: health.Error, Subject: s.ID, Text: "the station doesn't inspect",
				Do: "The agent's log says more. Parts that pass meanwhile aren't inspected."}
			if s.StateText != "" {
				w.Text += ": " + s.StateText
			}
			list = slices.Insert(list, 0, viewWarning(w, station))
		}
	}
	for i := range n.Stations {
		s := &n.Stations[i]
		if u := s.Update; (station == "" || s.ID == station) && u != nil && u.Next != nil && u.Next.Approvable() && u.Next.Reason != "window" {
			waits := health.Raised{Code: "approve", Severity: health.Warn, Subject: s.ID, Text: "bundle " + named(u.Next.Name, u.Next.Version) + " waits for your OK",
				Do: "The station goes on with what it runs. The button is under Bundle on the station's page."}
			at := slices.IndexFunc(list, func(v needView) bool { return v.Class != health.Error.String() })
			if at < 0 {
				at = len(list)
			}
			list = slices.Insert(list, at, viewWarning(waits, station))
		}
	}
	if len(list) == 0 || list[0].Class == health.Info.String() { // the worst come first
		list = slices.Insert(list, 0, needView{Class: "ok", Mark: "pass", Key: "ok", Text: "Nothing needs you",
			Do: "All is well as far as this device can tell."})
	}
	return list
}

func viewWarning(w health.Raised, station string) needView {
	v := needView{Class: w.Severity.String(), Mark: "info", Subject: w.Subject, Text: w.Text, Do: w.Do, Since: w.Since, Key: w.Code + " " + w.Subject}
	switch w.Severity {
	case health.Error:
		v.Mark = "bad"
	case health.Warn:
		v.Mark = "warn"
	}
	if v.Subject == station || v.Subject == "" {
		v.Subject, v.Text = "", web.Sentence(v.Text)
	}
	return v
}
