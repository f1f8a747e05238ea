package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/vision"
)

// addV1 adds the REST interface and its description.
func (s *Server) addV1(mux *http.ServeMux) {
	config := huma.DefaultConfig("Sightline agent", "v1")
	config.Info.Description = "One device: its stations, the results of its inspections, its health. Times are RFC 3339, " +
		"durations in ms. NONE means no decision and rejects the part. Errors are problem details (RFC 9457)."
	config.DocsPath, config.SchemasPath = "", ""
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	api := humago.New(mux, config)

	get(api, "list-stations", "/v1/stations", "The stations", s.listStations)
	get(api, "get-station", "/v1/stations/{station}", "One station", s.getStation)
	get(api, "list-results", "/v1/results", "Results, newest first", s.listResults)
	get(api, "get-result", "/v1/results/{seq}", "One result by its number", s.getResult)
	get(api, "get-fleet", "/v1/fleet", "The connection to the fleet", s.getFleet)
	get(api, "list-health", "/v1/health", "What a person should act on", s.listHealth)
	get(api, "get-board", "/v1/board", "What the hardware measures", s.getBoard)
	huma.Register(api, stream("stream-events", "/v1/events", "Results and warnings as they come",
		"text/event-stream", eventsDoc), s.events)
	huma.Register(api, stream("live", "/v1/stations/{station}/live", "Live pictures",
		"multipart/x-mixed-replace", liveDoc), s.live)
	huma.Register(api, stream("station-picture", "/v1/stations/{station}/picture.jpg", "The next picture",
		"image/jpeg", "Waits for the next picture of the station, up to three seconds."), s.nextPicture)
	huma.Register(api, stream("part-picture", "/v1/parts/{part}/picture.jpg", "A part's picture",
		"image/jpeg", "Only the newest parts have one."), s.partPicture)

	s.addTriggers(api)
	get(api, "list-doors", "/v1/doors", "The doors for the line's controller", s.listDoors)
	s.addCameras(api)
	s.addModels(api)
	s.addUpdates(api)
	s.addSwaps(api)
	s.addGolden(api)

	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		web.Problem(w, http.StatusNotFound, "there is nothing at "+r.Method+" "+r.URL.Path+"; /openapi.json tells what there is")
	})
}

func get[I, O any](api huma.API, id, path, summary string, handler func(context.Context, *I) (*O, error)) {
	huma.Register(api, huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary,
		Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, handler)
}

// stream is an operation whose answer isn't JSON.
func stream(id, path, summary, mediaType, doc string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Description: doc,
		Responses: map[string]*huma.Response{"200": {
			Description: "OK", Content: map[string]*huma.MediaType{mediaType: {}},
		}},
		Errors: []int{http.StatusNotFound, http.StatusServiceUnavailable},
	}
}

type stationInput struct {
	Station string `path:"station" maxLength:"64" doc:"name of the station"`
}

type stationsOutput struct {
	Body struct {
		Stations []Station `json:"stations"`
	}
}

func (s *Server) listStations(context.Context, *struct{}) (*stationsOutput, error) {
	out := &stationsOutput{}
	out.Body.Stations = s.now().Stations
	return out, nil
}

type stationOutput struct{ Body Station }

func (s *Server) getStation(_ context.Context, in *stationInput) (*stationOutput, error) {
	if st := station(s.now().Stations, in.Station); st != nil {
		return &stationOutput{*st}, nil
	}
	return nil, huma.Error404NotFound("there is no station " + strconv.Quote(in.Station))
}

func station(all []Station, id string) *Station {
	for i := range all {
		if all[i].ID == id {
			return &all[i]
		}
	}
	return nil
}

// now is the source's state with last results and the addresses of pictures
// filled in.
func (s *Server) now() Now {
	n := s.source.Now()
	if n.Stations == nil {
		n.Stations = []Station{}
	}
	if n.Cameras == nil {
		n.Cameras = []Camera{}
	}
	for i := range n.Stations {
		st := &n.Stations[i]
		st.Recent = slices.Clone(st.Recent) // the source's own stay as they are
		if len(st.Recent) == 0 && st.Last != nil {
			st.Recent = []Result{*st.Last}
		}
		for j := range st.Recent {
			s.addPicture(&st.Recent[j])
		}
		if len(st.Recent) > 0 {
			st.Last = &st.Recent[0]
		}
	}
	return n
}

// addPicture fills in where the part's picture is, if the device has it.
func (s *Server) addPicture(r *Result) {
	p, ok := s.source.Picture(r.ID)
	if !ok {
		return
	}
	r.Picture = "/v1/parts/" + url.PathEscape(r.ID) + "/picture.jpg"
	if p.Shows != (Box{}) {
		r.PictureBox, r.PictureCamera = &p.Shows, p.Camera
	}
}

type resultsInput struct {
	Limit   int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"at most so many"`
	Cursor  string `query:"cursor" maxLength:"64" doc:"next of the page before; first page without"`
	Station string `query:"station" maxLength:"64" doc:"only this station's"`
	Verdict string `query:"verdict" enum:"PASS,FAIL,NONE" doc:"only those told this verdict"`
	Label   string `query:"label" maxLength:"200" doc:"only parts with this label, or with a defect of this label"`
	Part    string `query:"part" maxLength:"200" doc:"only this part's, by its ID"`
	Camera  string `query:"camera" maxLength:"200" doc:"only parts that this camera saw"`
	Trigger string `query:"trigger" maxLength:"200" doc:"only what the trigger with this ID asked for"`
	Recipe  string `query:"recipe" maxLength:"200" doc:"only those inspected under this recipe"`
}

type resultsOutput struct {
	Body struct {
		Results []Result `json:"results"`
		Next    string   `json:"next,omitempty" doc:"cursor of the next page, which is older; absent on the last"`
	}
}

func (s *Server) listResults(ctx context.Context, in *resultsInput) (*resultsOutput, error) {
	q := Query{Limit: in.Limit, Station: in.Station, Label: in.Label, Part: in.Part, Camera: in.Camera, Trigger: in.Trigger, Recipe: in.Recipe}
	var ok bool
	if q.Before, ok = parseCursor(in.Cursor); !ok {
		return nil, huma.Error422UnprocessableEntity("cursor isn't one that this device gave: use next of the page before")
	}
	q.Verdict = parseVerdict(in.Verdict)
	results, next, err := s.page(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &resultsOutput{}
	out.Body.Results, out.Body.Next = results, next
	return out, nil
}

// page reads one page of results with the cursor of the next.
func (s *Server) page(ctx context.Context, q Query) (results []Result, next string, err error) {
	results, more, err := s.source.Results(ctx, q)
	if err != nil {
		s.log.Warn("read results", "err", err)
		return nil, "", huma.Error503ServiceUnavailable("the results can't be read now, the log says why")
	}
	if results == nil {
		results = []Result{}
	}
	for i := range results {
		s.addPicture(&results[i])
	}
	if more && len(results) > 0 {
		next = cursor(results[len(results)-1].Seq)
	}
	return results, next, nil
}

// cursor is the end of a page of results.
func cursor(seq uint64) string { return web.Cursor("before", strconv.FormatUint(seq, 10)) }

// parseCursor reads what cursor made; 0 is the first page.
func parseCursor(text string) (before uint64, ok bool) {
	end, ok := web.ParseCursor("before", text)
	if !ok || end == "" {
		return 0, ok
	}
	before, err := strconv.ParseUint(end, 10, 64)
	return before, err == nil && before > 0
}

// parseVerdict is nil for any verdict.
func parseVerdict(text string) *vision.Verdict {
	var v vision.Verdict
	if v.UnmarshalText([]byte(text)) != nil {
		return nil
	}
	return &v
}

type resultInput struct {
	Seq uint64 `path:"seq" minimum:"1" doc:"number of the result"`
}

type resultOutput struct{ Body Result }

func (s *Server) getResult(ctx context.Context, in *resultInput) (*resultOutput, error) {
	r, err := s.result(ctx, in.Seq)
	if err != nil {
		return nil, err
	}
	return &resultOutput{*r}, nil
}

// result is the one with that number.
func (s *Server) result(ctx context.Context, seq uint64) (*Result, error) {
	if seq+1 != 0 { // a larger number doesn't exist
		results, _, err := s.page(ctx, Query{Before: seq + 1, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(results) == 1 && results[0].Seq == seq {
			return &results[0], nil
		}
	}
	return nil, huma.Error404NotFound("there is no result with number " + strconv.FormatUint(seq, 10))
}

type doorsOutput struct {
	Body struct {
		Doors []Door `json:"doors"`
	}
}

func (s *Server) listDoors(context.Context, *struct{}) (*doorsOutput, error) {
	out := &doorsOutput{}
	out.Body.Doors = append([]Door{}, s.source.Now().Doors...)
	return out, nil
}

type fleetOutput struct{ Body Fleet }

func (s *Server) getFleet(context.Context, *struct{}) (*fleetOutput, error) {
	f := s.source.Now().Fleet
	if f == nil {
		return nil, huma.Error404NotFound("this device sends to no fleet: sightline-agent enroll makes it part of one")
	}
	return &fleetOutput{*f}, nil
}

type healthOutput struct {
	Body struct {
		Worst    string          `json:"worst" enum:"ok,info,warn,error" doc:"the highest severity, ok without warnings"`
		Warnings []health.Raised `json:"warnings" doc:"the worst first"`
	}
}

func (s *Server) listHealth(context.Context, *struct{}) (*healthOutput, error) {
	out := &healthOutput{}
	out.Body.Warnings, out.Body.Worst = s.source.Now().Health, "ok"
	if out.Body.Warnings == nil {
		out.Body.Warnings = []health.Raised{}
	}
	if w := health.Worst(out.Body.Warnings); w != 0 {
		out.Body.Worst = w.String()
	}
	return out, nil
}
