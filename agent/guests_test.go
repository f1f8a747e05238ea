package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

// asGuest is a client of the agent's stations' models, by way of its REST interface.
func asGuest(t testing.TB, a *Agent) *oip.Client {
	t.Helper()
	rest, err := api.New(api.Config{Source: a.Source(), Log: quiet, Guests: a.Guests()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(rest.Handler())
	t.Cleanup(server.Close)
	c, err := oip.NewClient(oip.ClientConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// blank is an empty picture for a model.
func blank(t testing.TB, m oip.Metadata) []oip.Tensor {
	t.Helper()
	size, err := oip.Bytes(m.Inputs[0].Datatype, m.Inputs[0].Shape)
	if err != nil {
		t.Fatal(err)
	}
	return []oip.Tensor{{Name: m.Inputs[0].Name, Datatype: m.Inputs[0].Datatype, Shape: m.Inputs[0].Shape, Data: make([]byte, size)}}
}

func readyModel(t testing.TB, l Loadout) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if _, err := l.Model.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// mapped counts the shared memory of so many bytes, but for the rest of a page, that
// this process has.
func mapped(t testing.TB, bytes int) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var from, to uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "sightline-frames") && to-from >= uint64(bytes) && to-from < uint64(bytes+os.Getpagesize()) {
			n++
		}
	}
	return n
}

// TestGuestsUseStationsModels: what stations look with is there under its name, and
// gives a guest what it gives a frame; what they switch to takes its place.
func TestGuestsUseStationsModels(t *testing.T) {
	one, other := shipped(t, "one", 0.1), shipped(t, "other", 0.3)
	one.About.Version = "2.1"
	r := plant(t, []*infer.Worker{one.Model, other.Model},
		StationConfig{ID: "left", Model: one.Model, About: one.About, Rule: one.Rule, Track: one.Track},
		StationConfig{ID: "right", Model: one.Model, About: one.About, Rule: one.Rule, Track: one.Track})
	readyModel(t, one)
	readyModel(t, other)
	c := asGuest(t, r.Agent)
	m, err := c.Metadata(t.Context(), "one", "2.1")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"stations": "left, right", "bundle": one.About.Bundle, "digest": one.About.Digest}
	got := map[string]string{"stations": m.Properties["stations"], "bundle": m.Properties["bundle"], "digest": m.Properties["digest"]}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	in := blank(t, m)
	first, err := c.Infer(t.Context(), "one", "", in, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Infer(t.Context(), "one", "2.1", in, []string{m.Outputs[0].Name})
	if err != nil || !bytes.Equal(first[0].Data, second[0].Data) || len(first[0].Data) == 0 {
		t.Errorf("two runs on the same picture differ (%v)", err)
	}
	if mapped(t, len(in[0].Data)) == 0 {
		t.Error("nothing is kept for the next request")
	}
	for _, id := range []string{"left", "right"} {
		if _, err := r.find(id).change(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	if !r.StopWorker(one.Model) || r.StopWorker(other.Model) {
		t.Error("the model that is used is stopped, or the one that isn't goes on")
	}
	if n := mapped(t, len(in[0].Data)); n != 0 {
		t.Errorf("%d times the memory of a request is kept for a model that is gone", n)
	}
	if err := c.Ready(t.Context(), "other", ""); err != nil {
		t.Error(err)
	}
	var status *oip.StatusError
	if err := c.Ready(t.Context(), "one", ""); !errors.As(err, &status) || status.Code != http.StatusNotFound {
		t.Errorf("the model that no station looks with any more: %v", err)
	}
	if g := r.Now().Guests; len(g) == 0 || g[0].Model != "one" || g[0].Codes[200] != 2 {
		t.Errorf("counted %+v", g)
	}
}

// TestGuestsDelayNoStation: with more guests than there are places, each part gets the
// verdict that it gets without, and the results are as fresh. Guests that hold the
// place when a frame comes are stopped. The first of three rounds that shows it is
// enough: a busy machine delays by itself.
func TestGuestsDelayNoStation(t *testing.T) {
	const median, most = 1.5, 2 // p50 and p99 of the results' age with guests ÷ without
	l := shipped(t, "shipped", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, StationConfig{ID: "belt", Model: l.Model, About: l.About, Rule: l.Rule, Track: l.Track})
	readyModel(t, l)
	s, c := r.find("belt"), asGuest(t, r.Agent)
	m, err := c.Metadata(t.Context(), "shipped", "")
	if err != nil {
		t.Fatal(err)
	}
	frames := func(n int) Figures {
		from := s.Figures().Inferred
		for until := time.Now().Add(2 * time.Minute); s.Figures().Inferred < from+uint64(n); <-time.After(5 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("no frames come any more")
			}
		}
		return s.figures(n)
	}
	for round := 1; ; round++ {
		frames(15)
		alone := frames(75)
		flood := flooded(t, c, blank(t, m), guestLimits.Requests+4)
		frames(15)
		crowded := frames(75)
		answers, refusals := flood()
		ratio := float64(crowded.AgeP99) / float64(alone.AgeP99)
		t.Logf("round %d: age p50 %v alone, %v with guests; p99 %v, %v: ratio %.2f; %d answers, %d refused", round,
			alone.AgeP50, crowded.AgeP50, alone.AgeP99, crowded.AgeP99, ratio, answers, refusals)
		if answers == 0 || refusals == 0 {
			t.Errorf("of more guests than there are places %d were answered and %d refused", answers, refusals)
		}
		if ratio <= most && float64(crowded.AgeP50) <= median*float64(alone.AgeP50) {
			break
		}
		if round == 3 {
			t.Errorf("guests make the results older: p50 and p99 rise beyond %v and %v times", median, most)
			break
		}
	}
	if stats := r.sched.Stats(); stats.Failed == 0 {
		t.Errorf("no guest was stopped for a frame: %+v", stats)
	}
	r.rightVerdicts(t)
}

// flooded has n guests ask without a pause until the function that it gives is called,
// which tells how often they were answered and refused.
func flooded(t testing.TB, c *oip.Client, in []oip.Tensor, n int) (end func() (answers, refusals int64)) {
	ctx, stop := context.WithCancel(t.Context())
	var guests sync.WaitGroup
	var answers, refusals atomic.Int64
	for range n {
		guests.Go(func() {
			for ctx.Err() == nil {
				switch _, err := c.Infer(ctx, "shipped", "", in, nil); {
				case err == nil:
					answers.Add(1)
				case ctx.Err() == nil:
					refusals.Add(1)
					<-time.After(100 * time.Millisecond)
				}
			}
		})
	}
	return func() (int64, int64) {
		stop()
		guests.Wait()
		return answers.Load(), refusals.Load()
	}
}

// rightVerdicts checks what was told so far: no part got NONE.
func (r *running) rightVerdicts(t testing.TB) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	none := 0
	for _, i := range r.told {
		if i.Told.Verdict == vision.None {
			none++
		}
	}
	if len(r.told) < 5 || none > 0 {
		t.Errorf("%d parts were judged, %d of them got no decision", len(r.told), none)
	}
}
