package oip

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sightline-edge/sightline/vision/sched"
)

// changing is a handler whose one model is what the test says.
func changing(t *testing.T) (*Handler, *httptest.Server, *Model) {
	m := model(t, sched.New(sched.Config{}), "tensors_mixed", 0)
	if _, err := m.Worker.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := NewHandler(Config{Models: func() []Model { return []Model{m} }})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return h, server, &m
}

// TestMetadataIsOfNow: what a station that joins a model says is told at once.
func TestMetadataIsOfNow(t *testing.T) {
	_, server, m := changing(t)
	for _, stations := range []string{"left", "left, right"} {
		m.Properties = map[string]string{"stations": stations}
		code, text := get(t, server, "/v2/models/tensors_mixed")
		var got Metadata
		if err := json.Unmarshal([]byte(text), &got); err != nil || code != 200 || got.Properties["stations"] != stations || len(got.Inputs) != 3 {
			t.Errorf("%d %s (%v), want stations %s", code, text, err, stations)
		}
	}
}

// TestStatisticsAreTrimmed: of models that are swapped in and out for ever the newest
// are told; a model's own only grow.
func TestStatisticsAreTrimmed(t *testing.T) {
	h, server, m := changing(t)
	ask := func() {
		t.Helper()
		if code, got := post(t, server, "/v2/models/"+m.Name+"/infer", mixedJSON()); code != 200 {
			t.Fatalf("%d %s", code, got)
		}
		h.Forget()
	}
	for n := range 40 {
		m.Version = fmt.Sprint(n)
		ask()
	}
	if got := h.Stats(); len(got) != 1 || got[0].Codes[200] != 40 || got[0].Run == 0 || len(h.book.list) > 2 {
		t.Errorf("of 40 versions: %+v, in %d places", got, len(h.book.list))
	}
	for n := range 40 {
		m.Name = fmt.Sprintf("model%02d", n)
		ask()
	}
	got := h.Stats()
	if len(got) != keepGone+1 || got[0].Model != "model23" || got[keepGone].Model != "model39" {
		t.Errorf("of 40 models %d are told: %+v", len(got), got)
	}
}

// TestNamesThatAreNoText: a file's name needn't be UTF-8, metrics must.
func TestNamesThatAreNoText(t *testing.T) {
	h, server, m := changing(t)
	for _, name := range []string{"a\xff", "a\xfe", "a"} {
		m.Name = name
		path := "/v2/models/" + strings.NewReplacer("\xff", "%ff", "\xfe", "%fe").Replace(name)
		if code, got := post(t, server, path+"/infer", mixedJSON()); code != 200 || !strings.Contains(got, `"y"`) {
			t.Errorf("%q: %d %s", name, code, got)
		}
	}
	got := h.Stats()
	if len(got) != 2 || got[1].Model != "a�" || got[1].Codes[200] != 2 || !utf8.ValidString(got[0].Model) {
		t.Errorf("%+v", got)
	}
}
