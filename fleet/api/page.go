package api

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/web"
)

const (
	pageDevices = 40  // rows of well devices
	pageNeeds   = 30  // rows of those that need a person
	maxQueries  = 200 // length of a filter, bytes
)

func (s *Server) addPages(g *gate) {
	g.HandleFunc("GET /login", s.loginPage)
	g.HandleFunc("POST /login", s.loginForm)
	g.HandleFunc("POST /logout", s.logoutForm)
	g.HandleFunc("GET /{$}", s.overviewPage)
	g.HandleFunc("GET /devices/{device}", s.devicePage)
	g.HandleFunc("POST /devices/{device}/revoke", s.revokeForm)
	g.HandleFunc("GET /results", s.resultsPage)
	g.HandleFunc("GET /results/{id}", s.resultPage)
	g.HandleFunc("GET /rollouts", s.rolloutsPage)
	g.HandleFunc("GET /rollouts/{id}", s.rolloutPage)
	g.HandleFunc("POST /rollouts/{id}/{act}", s.rolloutForm)
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.message(w, r, http.StatusNotFound, "There is no such page", "Nothing is at "+r.URL.Path+".")
	})
}

// head is what every page has around its content.
type head struct {
	Title, User, Role string
	Nav               []web.Link
	Events            string // where the page hears that something has changed, "" where nothing does
}

func newHead(r *http.Request, title, here, events string) head {
	p := who(r.Context())
	return head{title + " · Sightline fleet", p.User, p.Role.String(), []web.Link{
		{Name: "Overview", URL: "/", Here: here == "overview"},
		{Name: "Results", URL: "/results", Here: here == "results"},
		{Name: "Rollouts", URL: "/rollouts", Here: here == "rollouts"},
	}, events}
}

func (s *Server) render(w http.ResponseWriter, status int, name string, data any) {
	if err := s.pages.Render(w, status, name, data); err != nil {
		s.log.Error("page", "err", err)
	}
}

func (s *Server) message(w http.ResponseWriter, r *http.Request, status int, heading, text string) {
	s.render(w, status, "note", struct {
		head
		Heading, Text string
	}{newHead(r, heading, "", ""), heading, text})
}

// fault shows an error that a handler of /v1 would have answered with.
func (s *Server) fault(w http.ResponseWriter, r *http.Request, err error) {
	var status huma.StatusError
	if errors.As(err, &status) && status.GetStatus() == http.StatusNotFound {
		s.message(w, r, http.StatusNotFound, "There is no such thing", web.Sentence(status.Error())+".")
		return
	}
	s.message(w, r, http.StatusServiceUnavailable, "The fleet's store doesn't answer now",
		"The log says why. Devices go on inspecting and keep what they recorded until it is back. This page tries again by itself when it is loaded anew.")
}

// overviewFilter is what the page Overview is asked for, as it stands in the URL.
type overviewFilter struct {
	Group, State, Text string
	Page               int
}

func readOverview(q url.Values) overviewFilter {
	page, _ := strconv.Atoi(q.Get("page")) // what is no number is the first page
	return overviewFilter{short(q.Get("group")), short(q.Get("state")), short(q.Get("q")), min(max(page, 1), 1000)}
}

func short(v string) string { return strings.ToValidUTF8(v[:min(len(v), maxQueries)], "") }

func (f overviewFilter) link(page int) string {
	q := url.Values{}
	for name, v := range map[string]string{"group": f.Group, "state": f.State, "q": f.Text} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

// stateNeeds is the state of a filter that wants those that need a person.
const stateNeeds = "needs"

// overview is the page's data.
type overview struct {
	head
	Class, Mark, Word, Sub string
	Figures                []figure
	Own                    []needView
	Needs, Well, Gone      []deviceView
	MoreNeeds              string // link to those that need a person, if not all are here
	NeedCount, WellCount   int
	Dots                   []deviceView
	Filter                 overviewFilter
	Filtered               bool
	Groups                 []string
	States                 []stateOption
	Newer, Older           string
	Address                string // at which devices enrol
}

type figure struct{ Name, Value, Unit, Sub string }

type stateOption struct {
	Value, Word string
	Count       int
}

func (s *Server) overviewPage(w http.ResponseWriter, r *http.Request) {
	all, err := s.devices.list(r.Context())
	if err != nil {
		s.fault(w, r, s.unavailable(r.Context(), "read devices", err))
		return
	}
	f, now := readOverview(r.URL.Query()), s.store.Now()
	data := overview{
		head: newHead(r, "Overview", "overview", "/v1/events?wake=true"), Filter: f, Filtered: f.Group+f.State+f.Text != "",
	}
	views := make([]deviceView, 0, len(all))
	for i := range all {
		views = append(views, viewDevice(&all[i], now))
	}
	data.count(views)
	data.Figures = s.figures(views)
	if own := s.own(); len(own) > 0 {
		data.Own = viewWarnings(own)
	}
	fits := deviceFilter{Group: f.Group, Text: f.Text}
	if f.State != stateNeeds {
		fits.Presence = store.Presence(f.State)
	}
	var needs, well []deviceView
	for i := range views {
		v := views[i]
		switch {
		case !fits.fits(&all[i], now):
		case v.needs():
			needs = append(needs, v)
		case f.State == stateNeeds:
		case v.Presence == store.Revoked:
			data.Gone = append(data.Gone, v)
		default:
			well = append(well, v)
		}
	}
	data.lay(needs, well)
	data.Address = s.address(r)
	s.render(w, http.StatusOK, "overview", data)
}

// address is where a device reaches the fleet: where this browser does, unless
// it is on the fleet's machine.
func (s *Server) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	if r.TLS == nil || host == "localhost" || ip != nil && ip.IsLoopback() {
		return cmp.Or(s.cfg.Address, "this-machine:8443")
	}
	return r.Host
}

// lay puts the devices on pages.
func (o *overview) lay(needs, well []deviceView) {
	slices.SortStableFunc(needs, func(a, b deviceView) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.Since.Compare(b.Since), strings.Compare(a.order, b.order))
	})
	slices.SortStableFunc(well, func(a, b deviceView) int { return strings.Compare(a.order, b.order) })
	o.NeedCount, o.WellCount = len(needs), len(well)
	f := o.Filter
	if f.State == stateNeeds {
		o.Needs, o.Newer, o.Older = turn(needs, f, pageDevices)
		return
	}
	if len(well) > pageDevices {
		o.Dots = well
	}
	if f.Page == 1 {
		o.Needs = needs[:min(len(needs), pageNeeds)]
		if len(needs) > pageNeeds {
			f.State = stateNeeds
			o.MoreNeeds = f.link(1)
		}
	} else {
		o.NeedCount = 0
	}
	o.Well, o.Newer, o.Older = turn(well, o.Filter, pageDevices)
	o.Gone = o.Gone[:min(len(o.Gone), pageDevices)]
}

// turn is the page of a list that the filter asks for, with the addresses of
// its neighbours.
func turn(list []deviceView, f overviewFilter, size int) (page []deviceView, newer, older string) {
	from := min((f.Page-1)*size, len(list))
	to := min(from+size, len(list))
	if f.Page > 1 {
		newer = f.link(f.Page - 1)
	}
	if to < len(list) {
		older = f.link(f.Page + 1)
	}
	return list[from:to], newer, older
}

// count finds the band's words and the filter's choices, over all devices.
func (o *overview) count(views []deviceView) {
	needs, bad := 0, 0
	states, groups := map[store.Presence]int{}, map[string]bool{}
	var last *deviceView
	for i := range views {
		v := &views[i]
		states[v.Presence]++
		groups[v.Group] = true
		if v.needs() {
			needs++
			if v.Class == "bad" {
				bad++
			}
		}
		if v.Last != nil && (last == nil || v.Last.Received.After(last.Last.Received)) {
			last = v
		}
	}
	for g := range groups {
		o.Groups = append(o.Groups, g)
	}
	slices.Sort(o.Groups)
	o.States = append(o.States, stateOption{stateNeeds, "needs you", needs})
	for _, p := range presences {
		o.States = append(o.States, stateOption{string(p), string(p), states[p]})
	}
	switch {
	case len(views) == 0:
		o.Class, o.Mark, o.Word, o.Sub = "idle", "wait", "No devices yet", "The first one shows here as soon as it has enrolled."
	case needs == 0:
		o.Class, o.Mark, o.Word = "good", "pass", "All is well"
	default:
		o.Class, o.Mark, o.Word = "warn", "warn", plural(needs, "device needs", "devices need")+" you"
		if bad > 0 {
			o.Class, o.Mark = "bad", "bad"
		}
	}
	var said []string
	add := func(n int, text string) {
		if n > 0 {
			said = append(said, fmt.Sprintf("%s %s", web.Count(n), text))
		}
	}
	add(bad, "with errors")
	add(states[store.Offline], "offline")
	add(states[store.Stale], "stale")
	if last != nil {
		said = append(said, "newest result "+last.LastAge+" ago")
	}
	if len(said) > 0 {
		o.Sub = strings.Join(said, " · ")
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return web.Count(n) + " " + many
}

// figures are the numbers of the band.
func (s *Server) figures(views []deviceView) []figure {
	online, of, backlog, behind := 0, 0, 0, 0
	for i := range views {
		v := &views[i]
		if v.Presence == store.Revoked {
			continue
		}
		of++
		if v.Presence == store.Online {
			online++
		}
		if v.Behind {
			behind++
			backlog += int(v.Journal.Backlog)
		}
	}
	sum, since := s.hour.sum()
	span := "1 h"
	if age := time.Since(since); age < time.Hour-time.Minute {
		span = "since " + since.Format("15:04")
	}
	rejected, unit, rest := "–", "", "no results yet"
	if sum.results > 0 {
		rejected, unit = web.Percent(float64(sum.fails+sum.none)/float64(sum.results)), "%"
		rest = fmt.Sprintf("%s fail + %s no decision", web.Count(sum.fails), web.Count(sum.none))
	}
	waiting := "nothing waits"
	switch away := of - online; {
	case behind > 0:
		waiting = "on " + plural(behind, "device", "devices")
	case away > 0:
		waiting = "unknown of " + plural(away, "device", "devices")
	}
	return []figure{
		{"Online", web.Count(online), "of " + web.Count(of), "devices"},
		{"Results, " + span, web.Count(sum.results), "", "received"},
		{"Rejected, " + span, rejected, unit, rest},
		{"Backlog", web.Count(backlog), "", waiting},
	}
}
