package api

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
)

// devicesFor is how old the list of devices may be: every open page and every
// reader of events looks at the same one.
const devicesFor = 500 * time.Millisecond

// devices is the list of all devices, read from the store at most twice a second.
type devices struct {
	store *store.Store
	mu    sync.Mutex // protects what follows
	at    time.Time
	all   []store.Device
}

// list gives the devices in the store's order. They are shared: nobody writes
// to them.
func (d *devices) list(ctx context.Context) ([]store.Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all != nil && time.Since(d.at) < devicesFor {
		return d.all, nil
	}
	all, err := d.store.Devices(ctx)
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = []store.Device{}
	}
	d.all, d.at = all, time.Now()
	return all, nil
}

// forget makes the next list a new one.
func (d *devices) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = nil
}

// deviceFilter says which devices are wanted. Zero values want all.
type deviceFilter struct {
	Group    string
	Presence store.Presence
	Text     string // in its id, its label or its host's name, whatever the case
}

func (f *deviceFilter) fits(d *store.Device, now time.Time) bool {
	if f.Group != "" && d.Group != f.Group {
		return false
	}
	if p, _ := d.Presence(now); f.Presence != "" && p != f.Presence {
		return false
	}
	if f.Text == "" {
		return true
	}
	want := strings.ToLower(f.Text)
	for _, s := range []string{d.ID, d.Label, d.Hostname} {
		if strings.Contains(strings.ToLower(s), want) {
			return true
		}
	}
	return false
}

// hour counts the results of the last hour by the minute, as they are told.
type hour struct {
	began time.Time
	mu    sync.Mutex // protects what follows
	ring  [60]minute
}

type minute struct {
	at                   int64 // minutes since 1970
	results, fails, none int
}

func (h *hour) add(rows []store.Row) {
	now := time.Now().Unix() / 60
	h.mu.Lock()
	defer h.mu.Unlock()
	m := &h.ring[now%int64(len(h.ring))]
	if m.at != now {
		*m = minute{at: now}
	}
	for i := range rows {
		if rows[i].Again {
			continue // it was counted when it was new
		}
		m.results++
		switch rows[i].Verdict.String() {
		case "PASS":
		case "FAIL":
			m.fails++
		default:
			m.none++
		}
	}
}

// sum is over the last hour, or since the service began, which is since.
func (h *hour) sum() (total minute, since time.Time) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.ring {
		if m.at > now.Unix()/60-int64(len(h.ring)) {
			total.results += m.results
			total.fails += m.fails
			total.none += m.none
		}
	}
	if since = now.Add(-time.Hour); h.began.After(since) {
		since = h.began
	}
	return total, since
}
