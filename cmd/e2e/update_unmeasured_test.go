package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unmeasuredVersion is good, and nobody measured how far its answers may move.
const unmeasuredVersion = "1.3.0"

// forgetMeasured copies a bundle as it was before tolerances were measured.
func forgetMeasured(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	file := filepath.Join(to, "golden", "expected.json")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var golden map[string]json.RawMessage
	if err := json.Unmarshal(text, &golden); err != nil {
		return err
	}
	delete(golden, "measured")
	if text, err = json.Marshal(golden); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// unmeasured: the device serves what passed, and nobody is told that it is plainly
// proved: by REST, by the pages and by the command line.
func (u *updates) unmeasured(t *testing.T) {
	const group, why = "unmeasured", "how far cpu float32 moves was never measured for this bundle: its tolerances were chosen by hand"
	f := u.follower(t, group, "", "    updates: auto", "    updates: auto")
	id := u.begin(t, unmeasuredVersion, group)
	r := u.follow(t, id, "succeeded")
	if d := r.Devices[0]; d.State != "proven" || d.Reason != "unmeasured" || d.Text != why || r.Running != 1 ||
		!strings.HasSuffix(r.Reason, "on 1 of them its golden pictures passed, but are unmeasured") {
		t.Errorf("%+v", r)
	}
	ask := func(path string) (text string) {
		u.while(func() {
			var status int
			if status, text = u.ask(path); status != http.StatusOK {
				t.Errorf("%s: %d %s", path, status, text)
			}
		})
		return text
	}
	run := func(args ...string) (text string) {
		u.while(func() {
			var err error
			if text, err = u.desk.try("", args...); err != nil {
				t.Error(err)
			}
		})
		return text
	}
	var device struct {
		Stations []struct {
			ID, Bundle, Unmeasured string
			Digest                 string `json:"bundle_digest"`
		}
	}
	slowly(t, "the stations' states", func() bool {
		if err := json.Unmarshal([]byte(ask("/v1/devices/"+f.id)), &device); err != nil {
			t.Fatal(err)
		}
		for _, s := range device.Stations {
			if s.Unmeasured != why || s.Digest != u.digests[unmeasuredVersion] {
				return false
			}
		}
		return len(device.Stations) == 2
	})
	for what, tt := range map[string]struct {
		text string
		says []string
	}{
		"REST":             {ask("/v1/rollouts/" + id), []string{`"devices_running":1,"devices_unmeasured":1`, `"proven":1,"unmeasured":1`, `"unmeasured":"` + why}},
		"the list":         {ask("/rollouts"), []string{"Proven, unmeasured on 1 device", "0 of 1 proven, 1 proven but unmeasured"}},
		"its page":         {ask("/rollouts/" + id), []string{"Proven, unmeasured", "passed its golden pictures, unmeasured on this device: " + why}},
		"the device's":     {ask("/devices/" + f.id), []string{"passed its golden pictures, unmeasured on this device: " + why}},
		"rollout status":   {run("rollout", "status", id), []string{"~  1 proven, unmeasured", "proven, unmeasured: " + why}},
		"rollout list":     {run("rollout", "list"), []string{"0 of 1, 1 unmeasured"}},
		"list of devices":  {run("devices"), []string{unmeasuredVersion + ", unmeasured"}},
		"rollout's --json": {run("rollout", "status", id, "--json"), []string{`"devices_unmeasured": 1`}},
	} {
		for _, says := range tt.says {
			if !strings.Contains(tt.text, says) {
				t.Errorf("%s doesn't say %q:\n%s", what, says, tt.text)
			}
		}
	}
	u.ends(f)
}
