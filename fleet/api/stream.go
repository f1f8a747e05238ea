package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/web"
)

const eventsDoc = "Server-sent events. `result`: a result as it was committed; its id is its number at the fleet, so that a reader that comes back " +
	"with Last-Event-ID gets what it missed, up to 2,000 results; if it missed more, `gap` comes first, with the numbers that must be asked for at " +
	"/v1/results. One that was told otherwise later comes again, without an id, and isn't told to who missed it. `device`: a device's presence or its warnings have changed. " +
	"`rollout`: something about that rollout has changed. A reader that doesn't keep up is cut, and comes back so. " +
	"With wake, nothing but `wake` is sent, at most twice a second: something happened."

// Pace of streams.
const (
	lookEvery   = time.Second            // at the devices
	wakeEvery   = 500 * time.Millisecond // of wake
	beatEvery   = 15 * time.Second       // something is sent, so that a dead peer is noticed
	replayChunk = 500                    // results read at a time
	replayMost  = 2000                   // results
	queueLength = 512                    // events that a reader may be behind
)

// event is one as it is sent.
type event struct {
	id     int64 // of a result
	device string
	text   []byte
}

// hub hands events to readers.
type hub struct {
	mu      sync.Mutex // protects what follows
	readers map[*reader]struct{}
}

// reader is one that listens. Its queue is closed when it is cut.
type reader struct {
	device string // "" for all
	wake   bool
	queue  chan event
}

func (h *hub) enter(r *reader) (leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers == nil {
		h.readers = map[*reader]struct{}{}
	}
	h.readers[r] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.readers, r)
	}
}

// heard reports whether anybody listens.
func (h *hub) heard() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.readers) > 0
}

func (h *hub) tell(rows []store.Row) {
	if !h.heard() {
		return
	}
	list := make([]event, 0, len(rows))
	for i := range rows {
		list = append(list, resultEvent(&rows[i]))
	}
	h.send(list)
}

func (h *hub) send(list []event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.readers {
		for _, e := range list {
			if r.device != "" && r.device != e.device {
				continue
			}
			select {
			case r.queue <- e:
				continue
			default:
			}
			if r.wake { // one is waiting already
				break
			}
			close(r.queue)
			delete(h.readers, r)
			break
		}
	}
}

// resultEvent has no number for a result that comes again: readers would go on
// from there when they come back.
func resultEvent(r *store.Row) event {
	out := newResult(r)
	if r.Again {
		return event{device: r.Device, text: encode("event: result\n", &out)}
	}
	return event{id: r.ID, device: r.Device, text: encode(fmt.Sprintf("id: %d\nevent: result\n", r.ID), &out)}
}

func encode(head string, data any) []byte {
	b, err := json.Marshal(data)
	if err != nil { // a number that JSON doesn't have; the rest of the stream is still good
		b = []byte("null")
	}
	return fmt.Appendf(nil, "%sdata: %s\n\n", head, b)
}

// deviceEvent is what changed about a device.
type deviceEvent struct {
	ID       string         `json:"id"`
	Presence store.Presence `json:"presence"`
	Since    time.Time      `json:"since"`
	Worst    string         `json:"worst"`
}

// rolloutEvent names a rollout about which something has changed.
type rolloutEvent struct {
	ID string `json:"id"`
}

// watch looks at the devices while anybody listens, tells what has changed,
// and ends with its context.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var known map[string]string // nil while nobody listens
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.hub.heard() {
			known = nil
			continue
		}
		all, err := s.devices.list(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("read devices", "err", err)
			}
			continue
		}
		known = s.tellDevices(all, known)
	}
}

// looksOf is what readers are told of.
func looksOf(d *Device) string {
	parts := []string{string(d.Presence) + d.Worst}
	for _, w := range d.Warnings {
		parts = append(parts, w.Code, w.Subject)
	}
	for _, st := range d.Stations {
		parts = append(parts, st.State, st.Recipe, st.Step)
	}
	return strings.Join(parts, "\x00")
}

// tellDevices sends what differs from what was known, and gives what is.
func (s *Server) tellDevices(all []store.Device, known map[string]string) map[string]string {
	first, now := known == nil, s.store.Now()
	next := make(map[string]string, len(all))
	var list []event
	for i := range all {
		d := newDevice(&all[i], now)
		looks := looksOf(&d)
		next[d.ID] = looks
		if known[d.ID] != looks && !first {
			e := deviceEvent{d.ID, d.Presence, d.Since, d.Worst}
			list = append(list, event{device: d.ID, text: encode("event: device\n", &e)})
		}
	}
	if !first && len(next) != len(known) {
		for _, id := range slices.Sorted(maps.Keys(known)) {
			if _, ok := next[id]; !ok {
				list = append(list, event{device: id, text: []byte("event: device\ndata: null\n\n")})
			}
		}
	}
	s.hub.send(list)
	return next
}

type eventsInput struct {
	LastID string `header:"Last-Event-ID" maxLength:"32" doc:"number of the newest result that the reader has; without: from now on"`
	Device string `query:"device" maxLength:"64" doc:"only this device's"`
	Wake   bool   `query:"wake" doc:"only that something happened"`
}

func (s *Server) events(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	var last int64
	if in.LastID != "" {
		n, err := strconv.ParseInt(in.LastID, 10, 64)
		if err != nil || n < 0 {
			return nil, huma.Error422UnprocessableEntity("Last-Event-ID must be the number of a result, got " + strconv.Quote(in.LastID))
		}
		last = n
	}
	p := who(ctx)
	if s.readers.Add(1) > maxReaders {
		s.readers.Add(-1)
		return nil, huma.ErrorWithHeaders(
			huma.Error503ServiceUnavailable(fmt.Sprintf("%d streams of events are open, that is all this service serves: close one, or try again later", maxReaders)),
			http.Header{"Retry-After": {"5"}})
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer s.readers.Add(-1)
		r := &reader{device: in.Device, wake: in.Wake, queue: make(chan event, queueLength)}
		if in.Wake {
			r.queue = make(chan event, 1)
		}
		leave := s.hub.enter(r) // before the replay, so that nothing falls between
		defer leave()
		_, w := humago.Unwrap(hc)
		out := web.NewPieces(w, "text/event-stream")
		out.Write([]byte(": welcome\n\n"))
		if in.LastID != "" && !in.Wake {
			if last, err := s.replay(hc.Context(), out, in.Device, last); err == nil {
				s.stream(hc.Context(), out, r, last, p)
			}
			return
		}
		s.stream(hc.Context(), out, r, 0, p)
	}}, nil
}

// stream sends what comes until the reader goes, is cut, or isn't let in any
// more.
func (s *Server) stream(ctx context.Context, out *web.Pieces, r *reader, last int64, p *principal) {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for out.Err == nil {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-r.queue:
			switch {
			case !ok:
				return
			case r.wake:
				out.Write([]byte("event: wake\ndata: {}\n\n"))
				select {
				case <-ctx.Done():
				case <-time.After(wakeEvery):
				}
			case e.id == 0 || e.id > last:
				out.Write(e.text)
			}
		case <-beat.C:
			if !s.still(ctx, p) {
				return
			}
			out.Write([]byte(": still here\n\n"))
		}
	}
}

// still reports whether the login that a stream began with holds.
func (s *Server) still(ctx context.Context, p *principal) bool {
	var err error
	if p.page {
		_, err = s.store.Session(ctx, p.key, s.store.Now())
	} else {
		_, err = s.store.APIToken(ctx, p.key, s.store.Now())
	}
	return err == nil
}

// replay sends the results after number last, oldest first, and gives the
// newest number.
func (s *Server) replay(ctx context.Context, out *web.Pieces, device string, last int64) (int64, error) {
	var rows []store.Row
	q, more := store.Query{Device: device, Limit: replayChunk}, true
	for pages := 0; more && len(rows) < replayMost && pages < replayMost/replayChunk; pages++ { // a page of large results is short
		var page []store.Row
		var err error
		if page, more, err = s.store.Results(ctx, q); err != nil {
			s.log.Warn("replay results", "err", err)
			return 0, err
		}
		for i := range page {
			if page[i].ID <= last {
				page, more = page[:i], false
				break
			}
		}
		rows = append(rows, page...)
		if len(page) > 0 {
			q.Before = page[len(page)-1].ID
		}
	}
	if more && len(rows) > 0 {
		gap := struct {
			After  int64 `json:"after"`
			Before int64 `json:"before"`
		}{last, rows[len(rows)-1].ID}
		out.Write(encode("event: gap\n", &gap))
	}
	for i := range slices.Backward(rows) {
		last = rows[i].ID
		out.Write(resultEvent(&rows[i]).text)
	}
	return last, out.Err
}
