package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestUnmeasuredIsTold: of a rollout's devices, in its counts, its list and what is
// watched, and of a device in the list of devices.
func TestUnmeasuredIsTold(t *testing.T) {
	const why = "how far cuda float32 moves was never measured for this bundle"
	var r rolloutAnswer
	if err := json.Unmarshal([]byte(`{"id":"r1","bundle":"caps","version":"1.2.0","group":"*","state":"running","reason":"wave 1 waits","wave":1,
		"devices_running":3,"devices_unmeasured":2,"waves":[{"size":4,"proven":3,"unmeasured":2,"running":1}],"devices":[
		{"device":"one","wave":1,"state":"proven"},
		{"device":"two","wave":1,"state":"proven","reason":"unmeasured","text":"`+why+`","unmeasured":"`+why+`"},
		{"device":"three","wave":1,"state":"probation","reason":"idle","unmeasured":"`+why+`"}]}`), &r); err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		got  string
		want []string
	}{
		"drawn": {r.draw(0, 0), []string{"wave 1  " + strings.Repeat("█", 10) + strings.Repeat("~", 20) + strings.Repeat("▓", 10) + "  1 proven, 2 proven, unmeasured, 1 running, not proven\n",
			"proven, unmeasured: " + why, "probation, idle; its golden pictures passed, unmeasured on it: " + why}},
		"watched": {changes(nil, &r, time.Now()), []string{"wave 1  two  proven, unmeasured: " + why, "running: wave 1 waits; 1 of 4 proven, 2 unmeasured\n"}},
		"listed":  {r.proven(""), []string{"1 of 4, 2 unmeasured"}},
	} {
		for _, want := range tt.want {
			if !strings.Contains(tt.got, want) {
				t.Errorf("%s: it doesn't say %q:\n%s", what, want, tt.got)
			}
		}
	}
	if n := strings.Count(r.draw(0, 0), why); n != 2 {
		t.Errorf("why is said %d times, want it once of each device that is unmeasured", n)
	}
	var d device
	if err := json.Unmarshal([]byte(`{"id":"two","presence":"online","stations":[{"model":"caps","model_version":"1.2.0"},
		{"model":"caps","model_version":"1.2.0","unmeasured":"`+why+`"}]}`), &d); err != nil {
		t.Fatal(err)
	}
	if got := deviceRow(&d, time.Now())[6]; got != "caps 1.2.0, unmeasured" {
		t.Errorf("the model is %q", got)
	}
	if d.Stations = d.Stations[:1]; deviceRow(&d, time.Now())[6] != "caps 1.2.0" {
		t.Errorf("a measured one is %q", deviceRow(&d, time.Now())[6])
	}
}
