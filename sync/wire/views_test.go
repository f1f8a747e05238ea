package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sightline-edge/sightline/vision"
)

// seenPart is one that a trigger asked for and two cameras saw.
func seenPart() vision.Part {
	p := somePart()
	p.Trigger, p.Attempt = "T-000812", 2
	p.Views = []vision.View{
		{Camera: "top", Seq: 105, Captured: first.Add(210 * time.Millisecond), Width: 1280, Height: 720},
		{Camera: "side", Seq: 99, Captured: first.Add(208 * time.Millisecond), Width: 640, Height: 480},
	}
	p.Defects = append(p.Defects, vision.Evidence{Label: "dent", Score: 0.5, Frames: 1, Box: vision.Box{X: 7, Y: 6, W: 5, H: 4}, View: 1})
	return p
}

func seenResult() *Result {
	p, d := seenPart(), someDecision()
	r := NewResult(&p, &d, decided)
	r.Station, r.Line, r.Camera, r.Recipe = "st1", "line 4", "top", "bottle 0.5 l"
	r.Model, r.ModelDigest = "parts", strings.Repeat("ab", 32)
	r.Rule, r.RuleDigest = "threshold:defect>0.5", strings.Repeat("cd", 32)
	return r
}

// TestViewGoldens: what was published decodes to the same for ever.
func TestViewGoldens(t *testing.T) {
	golden(t, "result.v2", &Record{Kind: &Record_Result{Result: seenResult()}})
	golden(t, "state.v3", &State{Connection: 1 << 60, EveryMs: 10000, Stations: []*StationState{
		{Id: "st1", State: "inspecting", Recipe: "bottle 0.5 l", Step: "slower"}, {Id: "st2", State: "inspecting"}}})
	want := &Batch{Epoch: 1 << 59}
	for i := range uint64(3) {
		r := seenResult()
		r.TriggerId = fmt.Sprint("T-", i)
		want.Items = append(want.Items, Item{First: 7 + i, Last: 7 + i, Body: body(t, &Record{Kind: &Record_Result{Result: r}})})
	}
	made, err := EncodeBatch(want)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "batch.v2.hex")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *update {
		text = []byte(hex.EncodeToString(made) + "\n")
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	published, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeBatch(published)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("batch.v2 decodes to %v (-want +got):\n%s", err, diff)
	}
}

func TestViewsThereAndBack(t *testing.T) {
	b, err := EncodeResult(seenResult())
	if err != nil {
		t.Fatal(err)
	}
	r, err := DecodeSent(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(seenPart(), r.GetResult().Part()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := r.GetResult().GetRecipe(); got != "bottle 0.5 l" {
		t.Errorf("the recipe is %q", got)
	}
}

// TestViewsKeepToLimits: whatever a part says, the fleet takes its record.
func TestViewsKeepToLimits(t *testing.T) {
	long := strings.Repeat("é", MaxName) + "\xff"
	p := vision.Part{ID: "p", Trigger: long, Attempt: -3, Defects: []vision.Evidence{{View: 1}, {View: MaxViews}, {View: -1}, {View: math.MaxInt}}}
	for range MaxViews + 4 {
		p.Views = append(p.Views, vision.View{Camera: long, Width: -1, Height: math.MaxInt})
	}
	r := NewResult(&p, &vision.Decision{}, decided)
	r.Recipe = Name(long)
	b, err := EncodeResult(r)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := DecodeSent(b)
	if err != nil {
		t.Fatal(err)
	}
	got := rec.GetResult().Part()
	if len(got.Views) != MaxViews || got.Views[0].Width != 0 || got.Views[0].Height != 1<<31-1 || got.Attempt != 0 {
		t.Errorf("got %d views, the first %+v, attempt %d", len(got.Views), got.Views[0], got.Attempt)
	}
	var views []int
	for _, e := range got.Defects {
		views = append(views, e.View)
	}
	if diff := cmp.Diff([]int{1, 0, 0, 0}, views); diff != "" {
		t.Errorf("evidence's views: %s", diff)
	}
	for _, s := range []string{got.Trigger, got.Views[3].Camera, rec.GetResult().GetRecipe()} {
		if len(s) > MaxName || len(s) < MaxName-1 || !utf8.ValidString(s) {
			t.Errorf("%d bytes: %q", len(s), s)
		}
	}
	if odd := strings.Repeat("x", MaxName-1) + "é"; Name(odd) != strings.Repeat("x", MaxName-1) || Name(odd[:MaxName-1]) != odd[:MaxName-1] {
		t.Error("a name isn't cut between two runes")
	}
}

// TestHostileViews: the fleet refuses what no device makes, before it takes
// memory, and reads what a journal may hold all the same.
func TestHostileViews(t *testing.T) {
	long := strings.Repeat("x", MaxName+1)
	of := func(change func(*Result)) []byte {
		r := seenResult()
		change(r)
		return body(t, &Record{Kind: &Record_Result{Result: r}})
	}
	empty := protowire.AppendBytes(protowire.AppendTag(nil, viewsField, protowire.BytesType), nil)
	empties := func(n int) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, resultField, protowire.BytesType), []byte(strings.Repeat(string(empty), n)))
	}
	for name, c := range map[string]struct {
		body []byte
		want string // "" for none
	}{
		"most views":        {empties(MaxViews), ""},
		"too many":          {empties(MaxViews + 1), "17 views, the fleet takes 16"},
		"in two":            {append(empties(MaxViews), empties(1)...), "17 views"},
		"and cut":           {append(empties(MaxViews+1), 0xff), "17 views"},
		"long trigger":      {of(func(r *Result) { r.TriggerId = long }), "its trigger's ID has 201 bytes, the fleet takes 200"},
		"long recipe":       {of(func(r *Result) { r.Recipe = long }), "its recipe has 201 bytes"},
		"long camera":       {of(func(r *Result) { r.Views[1].Camera = long }), "its view's camera has 201 bytes"},
		"view out of range": {of(func(r *Result) { r.Evidence[0].View = 2 }), "evidence names view 2 of 2"},
		"the last number":   {of(func(r *Result) { r.Evidence[0].View = 1<<32 - 1 }), "evidence names view 4294967295 of 2"},
		"view of none":      {of(func(r *Result) { r.Views = nil }), "evidence names view 1 of 0"},
		"attempts":          {of(func(r *Result) { r.Attempt = 1<<32 - 1 }), ""},
		"times and sizes":   {of(func(r *Result) { r.Views[0].Captured, r.Views[0].Width = -1<<63, 1<<32-1 }), ""},
	} {
		_, err := DecodeSent(c.body)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		rec, err := Decode(c.body)
		if err != nil {
			continue
		}
		p := rec.GetResult().Part()
		for _, e := range p.Defects {
			if e.View < 0 || e.View > 0 && e.View >= len(p.Views) {
				t.Errorf("%s: evidence of view %d of %d", name, e.View, len(p.Views))
			}
		}
	}
	var d delta
	if b := empties(MaxViews + 1); &d.decode(b)[0] != &b[0] {
		t.Error("a result with too many views was taken apart")
	} else if got := d.decode(d.encode(b)); string(got) != string(b) {
		t.Error("a result with many views comes otherwise")
	}
}

// TestViewsShrink: in a batch, views cost little beside the results that they
// belong to.
func TestViewsShrink(t *testing.T) {
	size := func(views bool) int {
		l, b := newLine(3), &Batch{Epoch: 1}
		for i := range uint64(100) {
			r := l.next()
			if views {
				for n, camera := range []string{"top", "side"} {
					r.Views = append(r.Views, &View{Camera: camera, Seq: r.BestSeq, Captured: r.BestCaptured + int64(n)*micro, Width: 1280, Height: 720})
				}
			}
			b.Items = append(b.Items, Item{First: i + 1, Last: i + 1, Body: body(t, &Record{Kind: &Record_Result{Result: r}})})
		}
		raw, err := EncodeBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		return len(raw) / 100
	}
	with, without := size(true), size(false)
	t.Logf("%d bytes a result with two views, %d without", with, without)
	if with > without+16 {
		t.Errorf("two views cost %d bytes a result", with-without)
	}
}
