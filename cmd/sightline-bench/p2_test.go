package main

import (
	"bytes"
	"context"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/scene"
)

func TestJain(t *testing.T) {
	for _, c := range []struct {
		xs   []float64
		want float64
	}{
		{[]float64{7, 7, 7, 7}, 1},
		{[]float64{9, 0, 0}, 1.0 / 3},
		{[]float64{1, 2, 3}, 36.0 / 42},
		{[]float64{0, 0}, 0},
		{nil, 0},
	} {
		if got := jain(c.xs); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("jain(%v) = %v, want %v", c.xs, got, c.want)
		}
	}
}

func TestFlatness(t *testing.T) {
	for _, c := range []struct {
		thirds []float64
		want   float64
	}{{[]float64{50, 50, 50}, 1}, {[]float64{50, 80, 55}, 1.6}, {[]float64{50, 40, 30}, 1}} {
		if got := flatness(c.thirds); got != c.want {
			t.Errorf("flatness(%v) = %v, want %v", c.thirds, got, c.want)
		}
	}
}

// TestFreshRows: the mean of the stations stands against period and model of the same
// third, and a single station that is worse shows as the worst.
func TestFreshRows(t *testing.T) {
	var log bytes.Buffer
	f := &fresh{env: &Env{Log: &log}, period: 40, alone: 8, sources: make([]string, 2)}
	rows := f.rows([]third{
		{age: []float64{45, 45}, model: []float64{10, 10}, half: []float64{8, 8}},
		{age: []float64{40, 60}, model: []float64{10, 10}, half: []float64{8, 8}},
		{age: []float64{54, 54}, model: []float64{20, 20}, half: []float64{8, 8}},
	}, []float64{1, 3})
	got := map[string][4]float64{}
	for _, r := range rows {
		got[r.ID] = [4]float64{r.Ours, r.Bare, r.Ratio, r.Worst}
		if err := checkRow(p2(), r); err != nil {
			t.Error(err)
		}
	}
	want := map[string][4]float64{
		"P2": {50, 50, 1, 1.2}, "P2/fair": {0.8, 1, 0.8, 0.8}, "P2/flat": {54, 45, 1.2, 1.2}, "P2/model": {10, 8, 1.25, 2.5},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestOthersRate: what all cameras ask for is so many times the model's time.
func TestOthersRate(t *testing.T) {
	hz := othersRate(5, 25, 2, 8)
	if asked := (25*2 + othersCameras*hz*8) / 1e3; math.Abs(asked-5) > 1e-9 {
		t.Errorf("with %v Hz they ask for %v times what there is", hz, asked)
	}
}

// TestCriticalShare: each way for a frame to come to nothing is a miss, and one under
// way at either end isn't.
func TestCriticalShare(t *testing.T) {
	before, after := lookout{stations: make([]stationNow, 3)}, lookout{stations: make([]stationNow, 3)}
	for _, l := range []*lookout{&before, &after} {
		for n := range l.stations {
			l.stations[n].Views = make([]struct {
				Inferred    uint64 `json:"frames_inferred"`
				Overwritten uint64 `json:"frames_overwritten"`
				Failed      uint64 `json:"frames_failed"`
				Late        uint64 `json:"frames_late"`
			}, 1)
		}
	}
	before.camera.Captured, after.camera.Captured = 100, 1100
	c := &after.stations[0]
	c.Schedule.InTime, c.Schedule.Busy, c.Schedule.BusyInTime = 999, 1000, 990
	after.stations[1].Views[0].Inferred, after.stations[2].Views[0].Inferred = 30, 10
	after.stations[1].Schedule.Busy, after.stations[1].Schedule.BusyInTime = 1000, 1000
	if o := share(before, after); o.strict != 1 || o.asked != 1 || o.worthwhile != 0.995 || jain(o.counts) != 0.8 {
		t.Errorf("one frame under way: %+v", o)
	}
	c.Schedule.InTime = 990
	if o := share(before, after); math.Abs(o.strict-0.992) > 1e-9 {
		t.Errorf("frames of which nothing is said: %+v", o)
	}
	for name, miss := range map[string]*uint64{
		"late": &c.Schedule.Late, "refused": &c.Schedule.RefusedLate, "stale": &c.Schedule.RefusedStale,
		"superseded": &c.Views[0].Overwritten, "failed": &c.Views[0].Failed,
	} {
		*miss = 10
		if o := share(before, after); math.Abs(o.strict-0.99) > 1e-9 {
			t.Errorf("%s: %+v", name, o)
		}
		*miss = 0
	}
	after.camera.Dropped = map[string]any{"late": 4.0, "no_slot": 6.0}
	if o := share(before, after); math.Abs(o.strict-0.99) > 1e-9 {
		t.Errorf("dropped before: %+v", o)
	}
}

// TestFigureConfigurations: what the figures run an agent with is what it takes.
func TestFigureConfigurations(t *testing.T) {
	b := &lineCell{ascii: "127.0.0.1:4000", modbus: "127.0.0.1:4001"}
	r, err := configured(&Env{}, t.TempDir(), b.text("http://127.0.0.1:1/0"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(r.config)
	if err != nil || len(c.Warnings) != 0 || len(c.PLC) != 2 || c.Infer.Parallel != 1 {
		t.Errorf("%v, %+v", err, c)
	}
}

// TestFilm: a camera sends its own pictures at its own moments.
func TestFilm(t *testing.T) {
	f := films{began: time.Now(), period: 20 * time.Millisecond}
	for seed := range uint64(2) {
		all, err := drawFilm(scene.Config{Width: 160, Height: 90, Rate: 1, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		f.pictures = append(f.pictures, all)
	}
	if f.phase(0) != 0 || f.phase(1) <= 0 || f.phase(1) >= f.period || f.phase(1) == f.phase(2) {
		t.Errorf("phases %v, %v, %v of %v", f.phase(0), f.phase(1), f.phase(2), f.period)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{camera}", f.serve)
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	next := viewer(t, ctx, server.URL+"/1")
	seen := map[string]bool{}
	for len(seen) < len(f.pictures[1]) { // one that is late misses some, so any may come next
		b := next()
		if !slices.ContainsFunc(f.pictures[1], func(p []byte) bool { return bytes.Equal(p, b) }) {
			t.Fatal("a picture isn't the camera's")
		}
		seen[string(b)] = true
	}
	for b := range seen {
		if _, err := picture.Decode([]byte(b), func(w, h int) ([]byte, error) { return make([]byte, 3*w*h), nil }); err != nil {
			t.Error(err)
		}
	}
	if res, err := http.Get(server.URL + "/2"); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("a camera that isn't there: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
}

// viewer reads a camera's pictures, one after the other.
func viewer(t *testing.T, ctx context.Context, url string) (next func() []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(res.Body, params["boundary"])
	return func() []byte {
		t.Helper()
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}
