package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stageOf has as many pictures, half of which took up to 10 ms and the rest up to 25 ms.
func stageOf(count uint64) Stage {
	s := Stage{Count: count, Total: 12 * float64(count), P50: 9.5, P99: 24.1}
	for _, bound := range StageBounds {
		upto := uint64(0)
		switch {
		case bound >= 0.025:
			upto = count
		case bound >= 0.01:
			upto = count / 2
		}
		s.Upto = append(s.Upto, upto)
	}
	return s
}

// inUse are the model of good and one that ran before it.
func inUse() []ModelUse {
	good := good("station1").Model
	return []ModelUse{
		{
			Name: good.Name, Version: good.Version, Digest: good.Digest, Family: good.Family, Stations: []string{"station1"}, Workers: 1, Ready: true,
			Provider: "cpu", Precision: "float32", Runtime: "1.27.0", Requests: 107412, Failures: Failures{Error: 1, Timeout: 2, Lost: 9},
			Stages: ModelStages{Wait: stageOf(40), Pre: stageOf(40), Run: stageOf(40), Decode: stageOf(40)},
			Memory: 146.2e6, Cap: 4e9, Leak: &Leak{PerHour: 36e6, OverMS: 7.2e6, Runs: 51200}, Recycles: Recycles{Leak: 2, Cap: 1}, Start: 213.4, Restarts: 3, Swaps: 2, Gates: Gates{Passed: 4, Refused: 1},
		},
		{Name: good.Name, Version: "2", Digest: "00112233445566778899", Stations: []string{}, Gates: Gates{Refused: 1}},
	}
}

func TestModels(t *testing.T) {
	m, s := filled(t, 1)
	if got := ask(t, s, "GET", "/v1/models").Body.String(); got != `{"models":[]}`+"\n" {
		t.Errorf("without a model: %s", got)
	}
	m.models = inUse()
	var list struct{ Models []ModelUse }
	if err := json.Unmarshal(ask(t, s, "GET", "/v1/models").Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	want := inUse()
	for n := range want {
		want[n].Stages.each(func(_ string, s *Stage) { s.Upto = nil }) // /metrics only
	}
	if d := cmp.Diff(want, list.Models); d != "" {
		t.Errorf("the list (-want +got):\n%s", d)
	}
	digest := want[0].Digest
	for name, version := range map[string]string{
		digest: "3", digest[:8]: "3", "drawn-parts": "3", "00112233": "2", digest[:7]: "", "0011223344556677889900": "", "caps": "",
	} {
		w := ask(t, s, "GET", "/v1/models/"+name)
		var one ModelUse
		if version == "" {
			if w.Code != 404 || !strings.Contains(w.Body.String(), "/v1/models lists") {
				t.Errorf("%s: %d %s, want 404", name, w.Code, w.Body)
			}
			continue
		}
		if err := json.Unmarshal(w.Body.Bytes(), &one); err != nil || w.Code != 200 || one.Version != version {
			t.Errorf("%s: %d, version %s, %v; want version %s", name, w.Code, one.Version, err, version)
		}
	}
}

func TestPageShowsTheModel(t *testing.T) {
	m, s := filled(t, 1)
	if got := text(ask(t, s, "GET", "/")); strings.Contains(got, "Computes") {
		t.Errorf("a page of a model that isn't loaded: %s", got)
	}
	m.models = inUse()
	want := "Model drawn-parts 3 Computes CPU float32 ONNX Runtime 1.27.0 Pictures 107,412 12 failed " +
		"Takes 24 ms 99 of 100; waits 24, tensor 24, decoding 24 Memory 146 MB of 4.0 GB, leaks 36 MB an hour Process started in 213 ms again 3× after it ended, 2× for its leak, 1× for its memory"
	if got := text(ask(t, s, "GET", "/")); !strings.Contains(got, want) {
		t.Errorf("the page doesn't say\n%s\nbut\n%s", want, got)
	}
	m.models[0].Requests, m.models[0].Failures, m.models[0].Stages = 0, Failures{}, ModelStages{}
	if got := text(ask(t, s, "GET", "/")); !strings.Contains(got, "ONNX Runtime 1.27.0 Memory 146 MB") {
		t.Errorf("before the first picture: %s", got)
	}
}

// A model's name may be that of a file, whatever bytes that has.
func TestModelsWithHostileNames(t *testing.T) {
	m, s := filled(t, 1)
	m.models = inUse()
	m.models[0].Name, m.models[0].Digest = "a\xffb\"}\n<script>x", "zz"
	m.stations[0].Model.Name, m.stations[0].Model.Digest = m.models[0].Name, "zz"
	got := ask(t, s, "GET", "/metrics").Body.String()
	if want := `sightline_infer_model_requests_total{digest="zz",model="a�b\"}\n<script>x"} 107412`; !strings.Contains(got, want) {
		t.Errorf("/metrics hasn't the line %s", want)
	}
	if got := ask(t, s, "GET", "/").Body.String(); strings.Contains(got, "<script>x") {
		t.Error("a name got into the page as markup")
	}
}
