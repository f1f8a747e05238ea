package api

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// addV1 adds the REST interface and its description.
func (s *Server) addV1(g *gate) {
	config := huma.DefaultConfig("Sightline fleet", "v1")
	config.Info.Description = "All devices and what they inspected. Times are RFC 3339, durations in ms. NONE means no decision and " +
		"rejects the part. Errors are problem details (RFC 9457). Each operation names the role that it needs; devices enrol and renew without one."
	config.DocsPath, config.SchemasPath = "", ""
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "an API token, from POST /v1/login or sightline-fleet user token"},
	}
	api := humago.New(g, config)

	operation(api, "GET", "list-devices", "/v1/devices", "The devices, by their id", s.listDevices)
	operation(api, "GET", "get-device", "/v1/devices/{device}", "One device", s.getDevice)
	operation(api, "POST", "revoke-device", "/v1/devices/{device}/revoke", "Take nothing more from a device", s.revokeV1)
	operation(api, "GET", "list-results", "/v1/results", "Results, newest arrival first", s.listResults)
	operation(api, "GET", "get-result", "/v1/results/{id}", "One result by its number at the fleet", s.getResult)
	operation(api, "GET", "list-holes", "/v1/holes", "Spans of records that will never come, newest first", s.listHoles)
	operation(api, "GET", "get-totals", "/v1/totals", "How much came", s.getTotals)
	operation(api, "GET", "list-health", "/v1/health", "What a person should act on", s.listHealth)
	operation(api, "GET", "get-me", "/v1/me", "Who asks", s.me)
	operation(api, "POST", "log-in", "/v1/login", "A token for a name and a password", s.loginV1)
	operation(api, "POST", "log-out", "/v1/logout", "End the token that asks", s.logoutV1)
	operation(api, "POST", "make-enroll-token", "/v1/enroll-tokens", "A token that lets one device in, once", s.enrollToken)
	operation(api, "POST", "enroll", wire.EnrollPath, "A device's first certificate", s.enroll)
	operation(api, "POST", "renew", wire.RenewPath, "A device's next certificate, over TLS with its present one", s.renew)
	s.addRollouts(api)
	s.addUpdates(api)
	huma.Register(api, secured(huma.Operation{
		OperationID: "stream-events", Method: http.MethodGet, Path: "/v1/events", Summary: "Results and devices as they change", Description: eventsDoc,
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"text/event-stream": {}}}},
		Errors:    []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
	}), s.events)

	g.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		web.Problem(w, http.StatusNotFound, "there is nothing at "+r.Method+" "+r.URL.Path+"; /openapi.json tells what there is")
	})
}

// maxBody is what a request may send, bytes; web.Guard allows more.
const maxBody = 32 << 10

// operation registers one whose answer is JSON.
func operation[I, O any](api huma.API, method, id, path, summary string, handler func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, MaxBodyBytes: maxBody,
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}
	if method == http.MethodPost && strings.HasPrefix(path, "/v1/rollouts") {
		op.Errors = append(op.Errors, http.StatusConflict)
	}
	if accesses[method+" "+path] == open {
		op.Errors = []int{http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	}
	huma.Register(api, secured(op), handler)
}

// secured tells the description who may use the operation.
func secured(op huma.Operation) huma.Operation {
	need := accesses[op.Method+" "+op.Path]
	if need == open {
		op.Security = []map[string][]string{}
		return op
	}
	op.Security = []map[string][]string{{"token": {}}}
	if op.Description != "" {
		op.Description += " "
	}
	op.Description += "Needs the role " + need.role().String()
	if need == device {
		op.Description += ", or a device's client certificate"
	}
	op.Description += "."
	return op
}

// unavailable tells that the store doesn't answer, and the log why.
func (s *Server) unavailable(ctx context.Context, what string, err error) error {
	if ctx.Err() == nil {
		s.log.Warn(what, "err", err)
	}
	return huma.Error503ServiceUnavailable("the fleet's store doesn't answer now, the log says why")
}

// caller is where a request comes from.
type caller struct {
	from netip.Addr
	tls  *tls.ConnectionState
}

// Resolve is called by huma with the request.
func (c *caller) Resolve(hc huma.Context) []error {
	r, _ := humago.Unwrap(hc)
	c.from, c.tls = remote(r), r.TLS
	return nil
}

type devicesInput struct {
	Limit    int    `query:"limit" default:"100" minimum:"1" maximum:"500" doc:"at most so many"`
	Cursor   string `query:"cursor" maxLength:"128" doc:"next of the page before; first page without"`
	Group    string `query:"group" maxLength:"64" doc:"only this group's"`
	Presence string `query:"presence" enum:"never,online,stale,offline,revoked" doc:"only those"`
}

type devicesOutput struct {
	Body struct {
		Devices []Device `json:"devices"`
		Next    string   `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
	}
}

func (s *Server) listDevices(ctx context.Context, in *devicesInput) (*devicesOutput, error) {
	after, ok := web.ParseCursor("after", in.Cursor)
	if !ok {
		return nil, errCursor
	}
	all, err := s.devices.list(ctx)
	if err != nil {
		return nil, s.unavailable(ctx, "read devices", err)
	}
	out, now := &devicesOutput{}, s.store.Now()
	out.Body.Devices = []Device{}
	f := deviceFilter{Group: in.Group, Presence: store.Presence(in.Presence)}
	for i := range all { // by ID
		if d := &all[i]; d.ID <= after || !f.fits(d, now) {
			continue
		}
		if n := len(out.Body.Devices); n == in.Limit {
			out.Body.Next = web.Cursor("after", out.Body.Devices[n-1].ID)
			break
		}
		out.Body.Devices = append(out.Body.Devices, newDevice(&all[i], now))
	}
	return out, nil
}

type deviceInput struct {
	Device string `path:"device" maxLength:"64" doc:"id of the device"`
}

type deviceOutput struct{ Body Device }

func (s *Server) getDevice(ctx context.Context, in *deviceInput) (*deviceOutput, error) {
	d, err := s.device(ctx, in.Device)
	if err != nil {
		return nil, err
	}
	return &deviceOutput{newDevice(d, s.store.Now())}, nil
}

// device reads one device; the error is a problem.
func (s *Server) device(ctx context.Context, id string) (*store.Device, error) {
	d, err := s.store.Device(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, huma.Error404NotFound("there is no device " + strconv.Quote(id))
	case err != nil:
		return nil, s.unavailable(ctx, "read a device", err)
	}
	return d, nil
}

type resultsInput struct {
	Limit   int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"at most so many"`
	Cursor  string `query:"cursor" maxLength:"128" doc:"next of the page before; first page without"`
	Device  string `query:"device" maxLength:"64" doc:"only this device's"`
	Station string `query:"station" maxLength:"64" doc:"only this station's, of whatever device"`
	Verdict string `query:"verdict" enum:"PASS,FAIL,NONE" doc:"only those told this verdict"`
	Label   string `query:"label" maxLength:"200" doc:"only parts with this label, or with a defect of this label"`
	Part    string `query:"part" maxLength:"200" doc:"only this part's, by its ID"`
	Trigger string `query:"trigger" maxLength:"200" doc:"only what the trigger with this ID asked for"`
	Recipe  string `query:"recipe" maxLength:"200" doc:"only those inspected under this recipe"`
}

type resultsOutput struct {
	Body struct {
		Results []Result `json:"results"`
		Next    string   `json:"next,omitempty" doc:"cursor of the next page, which came earlier; absent on the last"`
	}
}

// errCursor refuses a cursor that was made up.
var errCursor = huma.Error422UnprocessableEntity("cursor isn't one that this fleet gave: use next of the page before")

func (s *Server) listResults(ctx context.Context, in *resultsInput) (*resultsOutput, error) {
	q := store.Query{
		Limit: in.Limit, Device: in.Device, Station: in.Station, Label: in.Label, Part: in.Part, Verdict: parseVerdict(in.Verdict),
		Trigger: in.Trigger, Recipe: in.Recipe,
	}
	var ok bool
	if q.Before, ok = parseBefore(in.Cursor); !ok {
		return nil, errCursor
	}
	rows, next, err := s.page(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &resultsOutput{}
	out.Body.Results, out.Body.Next = make([]Result, 0, len(rows)), next
	for i := range rows {
		out.Body.Results = append(out.Body.Results, newResult(&rows[i]))
	}
	return out, nil
}

// page reads one page of results with the cursor of the next.
func (s *Server) page(ctx context.Context, q store.Query) (rows []store.Row, next string, err error) {
	rows, more, err := s.store.Results(ctx, q)
	if err != nil {
		return nil, "", s.unavailable(ctx, "read results", err)
	}
	if more && len(rows) > 0 {
		next = web.Cursor("before", strconv.FormatInt(rows[len(rows)-1].ID, 10))
	}
	return rows, next, nil
}

// parseBefore reads the cursor of a page of results; 0 is the first page.
func parseBefore(text string) (before int64, ok bool) {
	end, ok := web.ParseCursor("before", text)
	if !ok || end == "" {
		return 0, ok
	}
	before, err := strconv.ParseInt(end, 10, 64)
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
	ID int64 `path:"id" minimum:"1" doc:"number of the result at the fleet"`
}

type resultOutput struct{ Body Result }

func (s *Server) getResult(ctx context.Context, in *resultInput) (*resultOutput, error) {
	r, err := s.result(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &resultOutput{newResult(r)}, nil
}

// result reads one result; the error is a problem.
func (s *Server) result(ctx context.Context, id int64) (*store.Row, error) {
	r, err := s.store.Result(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, huma.Error404NotFound("there is no result with number " + strconv.FormatInt(id, 10))
	case err != nil:
		return nil, s.unavailable(ctx, "read a result", err)
	}
	return r, nil
}

// Hole is a span of records that a device said will never come.
type Hole struct {
	Device   string    `json:"device"`
	Epoch    string    `json:"epoch" doc:"of the device's journal, hex"`
	First    uint64    `json:"first"`
	Last     uint64    `json:"last" doc:"included"`
	Pass     uint64    `json:"pass" doc:"results among them, beyond those that had come"`
	Fail     uint64    `json:"fail"`
	None     uint64    `json:"none"`
	Other    uint64    `json:"other" doc:"records that were no results"`
	Reason   string    `json:"reason" doc:"retention, damaged, gone, earlier_epoch"`
	Received time.Time `json:"received"`
}

type holesInput struct {
	Device string `query:"device" maxLength:"64" doc:"only this device's"`
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"at most so many"`
}

type holesOutput struct {
	Body struct {
		Holes []Hole `json:"holes"`
	}
}

func (s *Server) listHoles(ctx context.Context, in *holesInput) (*holesOutput, error) {
	holes, err := s.store.Holes(ctx, in.Device, in.Limit)
	if err != nil {
		return nil, s.unavailable(ctx, "read holes", err)
	}
	out := &holesOutput{}
	out.Body.Holes = make([]Hole, 0, len(holes))
	for _, h := range holes {
		out.Body.Holes = append(out.Body.Holes, Hole{
			h.Device, hex64(h.Epoch), h.First, h.Last, h.Pass, h.Fail, h.None, h.Other, h.Reason, h.Received,
		})
	}
	return out, nil
}

type totalsInput struct {
	Device string `query:"device" maxLength:"64" doc:"only this device's"`
}

type totalsOutput struct {
	Body struct {
		Results    uint64 `json:"results"`
		Pass       uint64 `json:"pass" doc:"as told, as the next two"`
		Fail       uint64 `json:"fail"`
		None       uint64 `json:"none"`
		Holes      uint64 `json:"holes" doc:"records that will never come"`
		Unreadable uint64 `json:"unreadable" doc:"records that couldn't be read and are set aside"`
	}
}

func (s *Server) getTotals(ctx context.Context, in *totalsInput) (*totalsOutput, error) {
	t, err := s.store.Totals(ctx, in.Device)
	if err != nil {
		return nil, s.unavailable(ctx, "read totals", err)
	}
	out := &totalsOutput{}
	b := &out.Body
	b.Results, b.Pass, b.Fail, b.None, b.Holes, b.Unreadable = t.Results, t.Pass, t.Fail, t.None, t.Holes, t.Unreadable
	return out, nil
}

type healthOutput struct {
	Body struct {
		Worst    string          `json:"worst" enum:"ok,info,warn,error" doc:"the highest severity, ok without warnings"`
		Warnings []health.Raised `json:"warnings" doc:"of the service itself and of all devices, whose subject is the device's id; the worst first"`
	}
}

func (s *Server) listHealth(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	all, err := s.devices.list(ctx)
	if err != nil {
		return nil, s.unavailable(ctx, "read devices", err)
	}
	out, now := &healthOutput{}, s.store.Now()
	list := append([]health.Raised{}, s.own()...)
	for i := range all {
		for _, w := range judge(&all[i], now) {
			w.Subject = strings.TrimSuffix(all[i].ID+"/"+w.Subject, "/")
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, worseFirst)
	out.Body.Warnings, out.Body.Worst = list, "ok"
	if w := health.Worst(list); w != 0 {
		out.Body.Worst = w.String()
	}
	return out, nil
}

// own are the service's own warnings.
func (s *Server) own() []health.Raised {
	if s.cfg.Health == nil {
		return nil
	}
	return s.cfg.Health()
}
