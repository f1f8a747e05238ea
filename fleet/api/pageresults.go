package api

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/vision"
)

const pageParts = 50 // rows of the page Results

// resultsFilter is what the page Results is asked for, as it stands in the URL.
type resultsFilter struct {
	Device, Station, Verdict, Label, Part, Trigger, Recipe, Cursor string
}

func readResults(q url.Values) resultsFilter {
	return resultsFilter{
		short(q.Get("device")), short(q.Get("station")), short(q.Get("verdict")), short(q.Get("label")), short(q.Get("part")),
		short(q.Get("trigger")), short(q.Get("recipe")), short(q.Get("cursor")),
	}
}

// link is the address of the page with another cursor.
func (f resultsFilter) link(cursor string) string {
	q := url.Values{}
	for name, v := range map[string]string{
		"device": f.Device, "station": f.Station, "verdict": f.Verdict, "label": f.Label, "part": f.Part,
		"trigger": f.Trigger, "recipe": f.Recipe, "cursor": cursor,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if len(q) == 0 {
		return "/results"
	}
	return "/results?" + q.Encode()
}

func (f resultsFilter) query() (store.Query, bool) {
	before, ok := parseBefore(f.Cursor)
	q := store.Query{
		Before: before, Limit: pageParts, Device: f.Device, Station: f.Station, Label: f.Label, Part: f.Part, Verdict: parseVerdict(f.Verdict),
		Trigger: f.Trigger, Recipe: f.Recipe,
	}
	return q, ok && (f.Verdict == "" || q.Verdict != nil)
}

// choice is one entry of a list to choose from.
type choice struct{ Value, Word string }

func (s *Server) resultsPage(w http.ResponseWriter, r *http.Request) {
	f := readResults(r.URL.Query())
	q, ok := f.query()
	if !ok {
		s.message(w, r, http.StatusBadRequest, "That address isn't one of ours", "A filter in it can't be read. Begin again at Results.")
		return
	}
	all, err := s.devices.list(r.Context())
	if err != nil {
		s.fault(w, r, s.unavailable(r.Context(), "read devices", err))
		return
	}
	rows, next, err := s.page(r.Context(), q)
	if err != nil {
		s.fault(w, r, err)
		return
	}
	data := struct {
		head
		Filter        resultsFilter
		Filtered      bool
		Devices       []choice
		Verdicts      []vision.Verdict
		Results       []resultView
		Newest, Older string
	}{
		head: newHead(r, "Results", "results", ""), Filter: f, Filtered: f.Device+f.Station+f.Verdict+f.Label+f.Part+f.Trigger+f.Recipe != "",
		Verdicts: []vision.Verdict{vision.Pass, vision.Fail, vision.None},
	}
	if f.Cursor == "" { // what is older doesn't change under the reader's eyes
		data.Events = "/v1/events?wake=true&device=" + url.QueryEscape(f.Device)
	}
	byID := names(all)
	for i := range all {
		c := choice{all[i].ID, all[i].ID}
		if all[i].Label != "" {
			c.Word = all[i].Label + " · " + all[i].ID
		}
		data.Devices = append(data.Devices, c)
	}
	for i := range rows {
		data.Results = append(data.Results, viewResult(&rows[i], byID))
	}
	if f.Cursor != "" {
		data.Newest = f.link("")
	}
	if next != "" {
		data.Older = f.link(next)
	}
	s.render(w, http.StatusOK, "results", data)
}

func (s *Server) resultPage(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id <= 0 {
		s.message(w, r, http.StatusNotFound, "There is no such result", "Results have numbers, as /results/4711.")
		return
	}
	row, err := s.result(r.Context(), id)
	if err != nil {
		s.fault(w, r, err)
		return
	}
	d, err := s.device(r.Context(), row.Device)
	if err != nil {
		s.fault(w, r, err)
		return
	}
	res := newResult(row)
	view := viewResult(row, names([]store.Device{*d}))
	data := struct {
		head
		View   resultView
		Result Result
		Took   string // from its decision to the fleet
	}{newHead(r, view.Part, "", ""), view, res, ""}
	if took := row.Received.Sub(row.Decided); took < -2*time.Second {
		data.Took = "by a clock that was " + web.Age(-took) + " ahead of the fleet's, or more"
	} else {
		data.Took = web.Age(took) + " after it was decided, if the device's clock is right"
	}
	s.render(w, http.StatusOK, "result", data)
}
