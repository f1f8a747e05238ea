package store

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// TestNewerConnection: a device whose Hello's sign was lost is there all the
// same, and no late message of an old connection takes the newer one's place
// for good, whatever the fleet's clock does.
func TestNewerConnection(t *testing.T) {
	type said struct {
		at   float64 // seconds by the fleet's clock
		sign Sign
	}
	hello := func(at float64, c uint64) said { return said{at, Sign{Hello: &wire.Hello{Connection: c}}} }
	state := func(at float64, c uint64, age float64) said {
		return said{at, Sign{State: &wire.State{Connection: c, AgeMs: uint32(age * 1000), EveryMs: 10000}}}
	}
	life := func(at float64, c uint64, age float64) said {
		return said{at, Sign{Life: &wire.Life{Connection: c, Online: true, AgeMs: uint32(age * 1000)}}}
	}
	end := func(at float64, c uint64) said { return said{at, Sign{Life: &wire.Life{Connection: c}}} }
	for _, tt := range []struct {
		name       string
		said       []said
		presence   Presence
		since      float64
		connection uint64
	}{
		{"the first Hello was lost", []said{state(7, 1, 2)}, Online, 5, 1},
		{"its Life is enough", []said{life(7, 1, 2)}, Online, 5, 1},
		{"a later Hello was lost", []said{hello(1, 1), end(100, 1), state(110, 2, 4)}, Online, 106, 2},
		{"its Life is enough again", []said{hello(1, 1), end(100, 1), life(110, 2, 4), state(120, 2, 14)}, Online, 106, 2},
		{"with nothing of the end before", []said{hello(1, 1), state(110, 2, 4)}, Online, 106, 2},
		{"and its own end counts", []said{hello(1, 1), state(110, 2, 4), end(112, 2)}, Offline, 112, 2},
		{"but not the old one's, late", []said{hello(1, 1), state(110, 2, 4), end(112, 1)}, Online, 106, 2},
		{"both short", []said{hello(1, 1), end(3, 1), state(4, 2, 0.5)}, Offline, 3, 1},
		{"both short, a state later", []said{hello(1, 1), end(3, 1), state(4, 2, 0.5), state(14, 2, 10.5)}, Online, 3.5, 2},

		{"an old state", []said{hello(1, 1), hello(60, 2), state(60, 1, 59), end(70, 2)}, Offline, 70, 2},
		{"an old state that took long", []said{hello(1, 1), hello(2, 2), state(7, 1, 0.5), end(8, 2)}, Offline, 8, 2},
		{"to the limit", []said{hello(1, 1), hello(2, 2), state(7, 1, 0), life(7, 1, 0), end(8, 2)}, Offline, 8, 2},
		{"an old Life", []said{hello(1, 1), hello(60, 2), life(62, 1, 0.5), end(70, 2)}, Offline, 70, 2},
		{"an old state after the end", []said{hello(1, 1), hello(60, 2), end(70, 2), state(71, 1, 58)}, Offline, 70, 2},
		{"a state after its own end", []said{hello(60, 2), end(70, 2), state(80, 2, 9), state(90, 2, 30)}, Offline, 70, 2},
		{"no connection", []said{hello(1, 1), end(3, 1), state(50, 0, 0), life(51, 0, 0)}, Offline, 3, 1},

		{"a clock that jumped", []said{hello(1, 1), hello(60, 2), state(3660, 1, 58), state(3670, 2, 10), end(3675, 2)}, Offline, 3675, 2},
		{"and back", []said{hello(3600, 1), end(3660, 1), state(3601, 2, 1), state(3670, 2, 70)}, Online, 3600, 2},
		{"a clock that jumped between short ones", []said{hello(1, 1), hello(2, 2), state(3602, 1, 0.5), state(3610, 2, 9), end(3611, 1), state(3620, 2, 19)}, Online, 3601, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := fresh(t)
			enrol(t, s, "dev-a")
			began := s.Now()
			after := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
			newest := 0.0
			for _, is := range tt.said {
				is.sign.Device, is.sign.At = "dev-a", after(is.at)
				want(t, s.Heard(t.Context(), []Sign{is.sign}), nil)
				newest = max(newest, is.at)
			}
			d, err := s.Device(t.Context(), "dev-a")
			if err != nil {
				t.Fatal(err)
			}
			if p, since := d.Presence(after(newest + 1)); p != tt.presence || !since.Equal(after(tt.since)) || d.Connection != tt.connection {
				t.Errorf("%s since %s by connection %d, want %s since %v s by %d", p, since.Sub(began), d.Connection, tt.presence, tt.since, tt.connection)
			}
		})
	}
}
