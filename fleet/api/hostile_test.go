package api

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestNoNumbers: one device that tells numbers which JSON doesn't have hides
// neither itself nor the others.
func TestNoNumbers(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	f.add("dline00002", "line-a", "")
	f.send("dline00001", inspected("station1", 1))
	f.connect("dline00001", 0, wellState("s1"))
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	r := inspected("station1", 2)
	r.Score, r.Box = nan, &wire.Box{X: inf, Y: -inf}
	r.Evidence = []*wire.Evidence{{Score: nan, Box: &wire.Box{W: nan}}}
	r.Measurements = []*wire.Measurement{{Value: math.NaN(), Limit: math.Inf(-1)}}
	f.send("dline00002", r)
	st := wellState("s1")
	st.Stations[0].Rate = inf
	st.Board = &wire.Board{
		Temperatures: []*wire.Reading{{Name: "x", Value: nan}}, Load: proto.Float32(nan), Cpu: proto.Float32(inf),
		Gpus: []*wire.GPU{{Load: proto.Float32(nan), Temperature: proto.Float32(-inf), Power: proto.Float32(nan)}},
	}
	f.connect("dline00002", 0, st)
	for target, want := range map[string]string{
		"/v1/results": `"device":"dline00001"`, "/v1/results/2": `"device":"dline00002"`, "/v1/devices": `"id":"dline00001"`,
		"/v1/devices/dline00002": `"id":"dline00002"`, "/v1/health": "warnings", "/": "dline00002", "/devices/dline00002": "dline00002", "/results/2": "dline00002",
	} {
		if w := f.ask(auth.Viewer, "GET", target); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.200s", target, w.Code, w.Body)
		}
	}
}

// TestManyStations: what is told of a device takes time as its stations and
// warnings are many, not as one times the other.
func TestManyStations(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	st := &wire.State{}
	for range 120_000 {
		st.Stations = append(st.Stations, &wire.StationState{State: "stalled", Id: "s"})
		st.Warnings = append(st.Warnings, &wire.Warning{Severity: 1, Subject: "s"})
	}
	d, err := f.store.Device(t.Context(), "dline00001")
	if err != nil {
		t.Fatal(err)
	}
	d.State = st
	began := time.Now()
	view := newDevice(d, time.Now())
	if n := len(looksOf(&view)); n < 120_000 || time.Since(began) > 5*time.Second {
		t.Errorf("%d bytes after %v", n, time.Since(began))
	}
}
