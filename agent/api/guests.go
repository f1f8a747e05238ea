package api

import (
	"net/http"
	"strconv"
	"time"
)

// Guest is what programs asked of one model by the Open Inference Protocol.
type Guest struct {
	Model     string         // "" for requests whose model isn't known
	Codes     map[int]uint64 // answers, by HTTP's code; 499 for clients that left before
	Wait, Run time.Duration  // of all good requests: for their turn, and the model alone
}

// addGuests lets a handler answer for what is under /v2.
func addGuests(mux *http.ServeMux, h http.Handler) {
	if h == nil {
		return
	}
	mux.Handle("/v2", h)
	mux.Handle("/v2/", h)
}

// GuestMetrics serves the metrics of guests, and of the process, for a program that has
// no stations.
func GuestMetrics(guests func() []Guest) http.Handler {
	return rendered(newCollector(nil, func() Now { return Now{Guests: guests()} }, guestMetrics()))
}

// guestMetrics are of requests by the Open Inference Protocol.
func guestMetrics() []metric {
	model := []string{"model"}
	times := func(value func(*Guest) time.Duration) func(*Server, *Now, func(float64, ...string)) {
		return func(_ *Server, n *Now, emit func(float64, ...string)) {
			for i := range n.Guests {
				if g := &n.Guests[i]; g.Model != "" {
					emit(value(g).Seconds(), g.Model)
				}
			}
		}
	}
	return []metric{
		{"sightline_oip_requests_total", "Requests to infer of the Open Inference Protocol, by model (empty: none that is known) and HTTP code (499: the client left before the answer).", counter, []string{"model", "code"},
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for _, g := range n.Guests {
					for code, count := range g.Codes {
						emit(float64(count), g.Model, strconv.Itoa(code))
					}
				}
			}},
		{"sightline_oip_wait_seconds_total", "How long requests that were answered waited for their turn.", counter, model,
			times(func(g *Guest) time.Duration { return g.Wait })},
		{"sightline_oip_run_seconds_total", "How long the model ran for requests that were answered.", counter, model,
			times(func(g *Guest) time.Duration { return g.Run })},
	}
}
