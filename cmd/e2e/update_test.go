package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
)

// The bundles that are published: two good ones, one whose archive is tampered
// with at the fleet, one with a wrong model, one that is slow. The last two are
// for the fleet whose keys are stolen.
const (
	goodVersion, otherVersion = "1.1.0", "1.2.0"
	tamperedVersion           = "2.0.0"
	wrongVersion              = "3.0.0"
	slowVersion               = "4.0.0"
	laterVersion, evilVersion = "5.0.0", "6.6.6"

	slowFactor = 60 // several times between two pictures
)

// TestUpdates takes signed bundles the whole way, by the programs: made, signed
// and published at a desk, rolled out by a fleet, proved by devices.
func TestUpdates(t *testing.T) {
	t.Parallel()
	agentProgram(t)
	program(t, "sightline")
	began := time.Now()
	dir := t.TempDir()
	u := newUpdates(t, dir)
	u.camera, u.archives = film(t), dir
	good := u.recordGood()
	for _, version := range []string{goodVersion, otherVersion, tamperedVersion, laterVersion, evilVersion} {
		u.pack(good, version, nil)
	}
	u.pack(good, wrongVersion, func(to string) error {
		_, err := mutant.Write(os.DirFS(good), to, mutant.Replace, 1)
		return err
	})
	u.pack(good, slowVersion, func(to string) error { return mutant.WriteSlow(os.DirFS(good), to, slowFactor) })
	u.pack(good, unmeasuredVersion, func(to string) error { return forgetMeasured(good, to) })
	sticks := [2]string{filepath.Join(dir, "stick1"), filepath.Join(dir, "stick2")}
	u.desk.publish(u.archive(goodVersion), "--out", sticks[0])
	u.desk.publish(u.archive(otherVersion), "--out", sticks[1])
	for _, version := range []string{tamperedVersion, wrongVersion, slowVersion, unmeasuredVersion} {
		u.desk.publish(u.archive(version))
	}
	t.Logf("fleet, keys and bundles: %v", time.Since(began).Round(10*time.Millisecond))
	var all sync.WaitGroup
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"killed on the way", u.killedOnTheWay},
		{"attacked", u.attacked},
		{"policies over HTTP", u.policies},
		{"unmeasured", u.unmeasured},
		{"stick", func(t *testing.T) { u.stick(t, sticks) }},
		{"keys stolen", u.keysStolen},
		{"killed at random", u.killedAtRandom},
	} {
		// Most of them is waiting: they go on at the same time, whatever -parallel is.
		all.Go(func() {
			t.Run(c.name, func(t *testing.T) {
				began := time.Now()
				c.run(t)
				t.Logf("%v", time.Since(began).Round(10*time.Millisecond))
			})
		})
	}
	all.Wait()
}

// policies: three stations of a device that fetches over HTTP ask, keep what
// came, or wait for another time of day. The rollout waits with them, and an
// operator lets them switch.
func (u *updates) policies(t *testing.T) {
	later := time.Now().Add(6 * time.Hour)
	window := later.Format("15:04") + "-" + later.Add(time.Hour).Format("15:04")
	f := u.follower(t, "policies", "updates: {transfer: http}", "    updates: ask", "    updates: download",
		"    updates: window\n    update_window: "+fmt.Sprintf("%q", window))
	before, beside := f.https.Passed(), f.mqtt.Passed()
	id := u.begin(t, goodVersion, "policies")
	for station, reason := range map[string]string{"s1": "operator", "s2": "download_only", "s3": "window"} {
		f.until(station, station+" to wait: "+reason, func(s *seenStation) bool {
			return s.phase() == "waiting" && s.Update.Next.Reason == reason
		})
	}
	slowly(t, "the rollout to wait for an operator", func() bool {
		r := u.rollout(id)
		if r.ended() && r.State != "" {
			t.Fatalf("the rollout is %s: %s", r.State, r.Reason)
		}
		return len(r.Devices) == 1 && r.Devices[0].State == "waiting_operator"
	})
	size, err := os.Stat(u.archive(goodVersion))
	if err != nil {
		t.Fatal(err)
	}
	web, broker := f.https.Passed()-before, f.mqtt.Passed()-beside
	if web < uint64(size.Size()) || broker >= uint64(size.Size()) {
		t.Errorf("of %d bytes %d came over HTTPS, %d over MQTT", size.Size(), web, broker)
	}
	for _, station := range []string{"s1", "s2", "s3"} {
		if s := f.look(station); s.active() != "" || s.phase() != "waiting" {
			t.Errorf("%s runs %q, %s, though nobody approved", station, s.active(), s.phase())
		}
		f.approve(station)
	}
	u.follow(t, id, "succeeded")
	by := u.ends(f)
	t.Logf("%d results by the bundle", by[u.digests[goodVersion]])
}

// attacked: what the fleet's disk was tampered with is refused, what is wrong
// is refused by the gate, what is slow is rolled back; the one before serves on.
func (u *updates) attacked(t *testing.T) {
	f := u.follower(t, "attacked", "", "    updates: auto")
	f.serves("s1")
	u.tampered(t, f)
	u.wrong(t, f)
	u.slow(t, f)
	by := u.ends(f)
	for _, version := range []string{tamperedVersion, wrongVersion} {
		if n := by[u.digests[version]]; n != 0 {
			t.Errorf("%d results are by %s", n, version)
		}
	}
	t.Logf("results by version: the program's own %d, slow %d", by[""], by[u.digests[slowVersion]])
}

// tampered: one bit of the archive is another on the fleet's disk.
func (u *updates) tampered(t *testing.T, f *follower) {
	if _, err := mutant.Tamper(u.depot("targets", u.digests[tamperedVersion]+".slb"), 1); err != nil {
		t.Fatal(err)
	}
	before := f.look("s1")
	r := u.halts(t, f, tamperedVersion, "damaged")
	t.Logf("%s", r.Devices[0].Text)
	f.serves("s1")
	after := f.look("s1")
	if after.active() != "" || !after.Signed || after.Counts.None != before.Counts.None || after.Camera.Restarts != before.Camera.Restarts {
		t.Errorf("after a tampered bundle: %+v, before %+v", after, before)
	}
	f.continuous(4 * time.Second)
}

// halts rolls out what must fail on the device, for that reason.
func (u *updates) halts(t *testing.T, f *follower, version string, reasons ...string) seenRollout {
	t.Helper()
	r := u.follow(t, u.begin(t, version, "attacked"), "halted")
	d := r.Devices[0]
	for _, reason := range reasons {
		if d.State == "failed" && d.Reason == reason {
			return r
		}
	}
	t.Fatalf("version %s: the device is %s, %s (%s), want failed, one of %v", version, d.State, d.Reason, d.Text, reasons)
	return r
}

// continuous wants no longer gap than that between the newest verdicts.
func (f *follower) continuous(most time.Duration) {
	f.t.Helper()
	var all struct{ Results []struct{ Decided time.Time } }
	if !get(f.address, "/v1/results?limit=500", &all) || len(all.Results) < 2 {
		f.t.Fatal("the agent doesn't tell its results")
	}
	for i, r := range all.Results[1:] {
		if gap := all.Results[i].Decided.Sub(r.Decided); gap > most {
			f.t.Errorf("there was no verdict for %v", gap)
		}
	}
}

// wrong: another model under the name, rightly signed, with the golden pictures
// of the good one. It is refused each time until it is no longer tried, which
// outlives kill -9.
func (u *updates) wrong(t *testing.T, f *follower) {
	u.halts(t, f, wrongVersion, "golden_gate")
	s := f.until("s1", "the refusal's pictures", func(s *seenStation) bool {
		return s.Update.Failure != nil && len(s.Update.Failure.Pictures) > 0
	})
	for _, name := range s.Update.Failure.Pictures {
		answer, err := http.Get("http://" + f.address + "/v1/updates/pictures/" + name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close() // it was read
		if err != nil || answer.StatusCode != http.StatusOK || http.DetectContentType(b) != "image/jpeg" {
			t.Errorf("picture %s: %s, %d bytes, %v", name, answer.Status, len(b), err)
		}
	}
	for n := 2; n <= updateTries; n++ {
		if u.halts(t, f, wrongVersion, "golden_gate"); n == 3 {
			f.restarted()
		}
	}
	u.halts(t, f, wrongVersion, "too_many_tries")
	f.serves("s1")
}

// updateTries is how often a bundle may fail on a station.
const updateTries = 5

// slow: a model that sees the same and takes too long. The one before serves
// again.
func (u *updates) slow(t *testing.T, f *follower) {
	s := f.look("s1")
	times := 1
	if full() {
		times = updateTries
	}
	for n := range times {
		r := u.halts(t, f, slowVersion, "slow")
		if n == 0 {
			t.Logf("the good one takes %.1f ms: %s", s.Model.P50, r.Devices[0].Text)
		}
		if f.until("s1", "the one before", func(s *seenStation) bool { return s.active() == "" }); n == 2 {
			f.restarted()
		}
		f.serves("s1")
	}
	if full() {
		u.halts(t, f, slowVersion, "too_many_tries")
	}
}

// killedOnTheWay: two devices in two waves. The first is killed while it
// fetches, while it waits and on probation, the fleet while the second fetches.
func (u *updates) killedOnTheWay(t *testing.T) {
	byID := map[string]*follower{}
	for range 2 {
		f := u.enrolled(t, u.configure(t, "", "    updates: ask"), "killed")
		f.mqtt.Shape(slowLink, 5*time.Millisecond)
		f.begin()
		u.online(f)
		byID[f.id] = f
	}
	id := u.begin(t, goodVersion, "killed")
	first := u.rollout(id).Devices[0]
	one := byID[first.Device]
	fetching := func(s *seenStation) bool { return s.phase() == "transfer" && s.Update.Next.Done > 0 }
	waiting := func(s *seenStation) bool { return s.phase() == "waiting" }
	one.until("s1", "part of the bundle", fetching)
	one.restarted()
	one.until("s1", "the whole bundle, waiting", waiting)
	one.restarted()
	one.until("s1", "it to wait again", waiting)
	one.approve("s1")
	one.until("s1", "probation", func(s *seenStation) bool { return s.phase() == "probation" })
	one.restarted()
	one.until("s1", "the end of probation", func(s *seenStation) bool { return s.phase() == "committed" })

	var two *follower
	for device, f := range byID {
		if device != first.Device {
			two = f
		}
	}
	two.until("s1", "part of the bundle", fetching)
	u.away(func() {
		u.process.kill()
		u.serve()
	})
	two.until("s1", "the whole bundle, waiting", waiting)
	two.approve("s1")
	if r := u.follow(t, id, "succeeded"); r.Running != 2 {
		t.Errorf("%d devices run it: %+v", r.Running, r)
	}
	for _, f := range byID {
		s := f.look("s1")
		by := u.ends(f)
		if n := by[u.digests[goodVersion]]; s.active() != goodVersion || n < 3 {
			t.Errorf("device %s runs %q; the fleet has %d results by the bundle", f.id, s.active(), n)
		}
		t.Logf("device %s: %d results by the bundle, %d by what ran before", f.id, by[u.digests[goodVersion]], by[""])
	}
}

// slowLink is the rate of a cable on which a bundle takes some seconds, bytes
// a second.
const slowLink = 400_000

// killedAtRandom: the agent is killed at any moment of rollouts back and forth
// between two versions, and the cable cut at times. Each time the next start
// serves with something good.
func (u *updates) killedAtRandom(t *testing.T) {
	kills := 3
	if full() {
		kills = 60
	}
	f := u.follower(t, "random", "", "    updates: auto")
	versions := []string{goodVersion, otherVersion}
	may := map[string]bool{"": true}
	for n := range kills {
		version := versions[n%2]
		may[version] = true
		id := u.begin(t, version, "random")
		moment(2500 * time.Millisecond)
		if n%3 == 1 {
			f.mqtt.Set(cable.Refused)
		}
		f.restarted()
		f.serves("s1")
		if s := f.look("s1"); !may[s.active()] {
			t.Errorf("kill %d: %q runs", n, s.active())
		}
		f.mqtt.Set(cable.Whole)
		u.follow(t, id, "succeeded")
		if s := f.look("s1"); s.active() != version {
			t.Errorf("kill %d: %q runs, %s was proved", n, s.active(), version)
		}
		delete(may, "")
	}
	by := u.ends(f)
	t.Logf("%d kills; results by %s %d, by %s %d, by the program's own %d", kills, goodVersion, by[u.digests[goodVersion]], otherVersion,
		by[u.digests[otherVersion]], by[""])
}
