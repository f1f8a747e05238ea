package rest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// TestViews: evidence tells its camera by name, and what isn't there is absent.
func TestViews(t *testing.T) {
	at := time.Date(2026, 3, 1, 6, 0, 0, 123456000, time.UTC)
	p := vision.Part{
		ID: "p-1", Trigger: "T-7", Attempt: 2, Views: []vision.View{
			{Camera: "top", Seq: 7, Captured: at, Width: 1280, Height: 720}, {Camera: "side", Seq: 9, Captured: at.Add(time.Millisecond), Width: 640, Height: 480}},
		Defects: []vision.Evidence{{Label: "dent", View: 1}, {Label: "scratch"}},
	}
	w := wire.NewResult(&p, &vision.Decision{}, at)
	w.Recipe = "0.5 l"
	text, err := json.Marshal(FromWire(1, w))
	if err != nil {
		t.Fatal(err)
	}
	type view struct {
		Camera        string
		Frame         uint64
		Captured      time.Time
		Width, Height int
	}
	type told struct {
		Trigger  string `json:"trigger_id"`
		Attempt  int
		Recipe   string
		Views    []view
		Evidence []struct{ Label, Camera string }
	}
	var got told
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := told{
		Trigger: "T-7", Attempt: 2, Recipe: "0.5 l", Views: []view{{"top", 7, at, 1280, 720}, {"side", 9, at.Add(time.Millisecond), 640, 480}},
		Evidence: []struct{ Label, Camera string }{{"dent", "side"}, {"scratch", "top"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	p.Trigger, p.Views, p.Defects = "", nil, []vision.Evidence{{Label: "dent"}}
	if text, err = json.Marshal(FromWire(1, wire.NewResult(&p, &vision.Decision{}, at))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"trigger_id", "recipe", "views", "camera"} {
		if strings.Contains(string(text), `"`+name+`"`) {
			t.Errorf("%s isn't absent: %s", name, text)
		}
	}
}

// TestEvidenceOfNoView: a record from anywhere names a view that isn't there.
func TestEvidenceOfNoView(t *testing.T) {
	r := FromWire(1, &wire.Result{Views: []*wire.View{{Camera: "top"}, nil}, Evidence: []*wire.Evidence{{View: 1}, {View: 2}, {View: 1<<32 - 1}}})
	if r.Evidence[0].Camera != "" || r.Evidence[1].Camera != "top" || r.Evidence[2].Camera != "top" {
		t.Errorf("got %+v", r.Evidence)
	}
}
